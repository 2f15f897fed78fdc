// Uploads one file with the function that docs/clients.md shows. Its first token is
// good, all others have expired. The last line of standard output is the recording's
// id and how often a token was asked for.
import fs from 'node:fs'

const { upload } = await import(process.env.SNIPPET)
const file = Object.assign(fs.readFileSync(process.env.FILE), { name: 'speech.wav', type: 'audio/wav' })
let asked = 0
const recording = await upload(file, {
  server: process.env.SERVER,
  getToken: async () => (asked++ === 0 ? process.env.TOKEN : process.env.EXPIRED),
  clientId: 'on a train',
})
console.log(JSON.stringify({ recording, asked }))
