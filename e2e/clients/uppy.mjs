// Uploads several files at once with Uppy, as the JSON in the environment
// variable CASE says, and prints which of them succeeded and which failed.
import fs from 'node:fs'
import Uppy from '@uppy/core'
import Tus from '@uppy/tus'

const c = JSON.parse(process.env.CASE)
const uppy = new Uppy({ logger: { debug() {}, warn() {}, error() {} } })
uppy.use(Tus, {
  endpoint: c.endpoint,
  headers: { Authorization: `Bearer ${c.token}` },
  chunkSize: c.chunkSize,
  retryDelays: Array(50).fill(20),
  limit: 3,
})
for (const { name, type, path } of c.files) {
  uppy.addFile({ name, type, data: fs.readFileSync(path) })
}
const { successful, failed } = await uppy.upload()
console.log(
  JSON.stringify({
    successful: successful.map((file) => file.name),
    failed: failed.map((file) => file.name),
  }),
)
