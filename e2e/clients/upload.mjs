// Uploads one file with tus-js-client, as the JSON in the environment variable
// CASE says, and tells what happens on standard output, one JSON object a line:
// {answer} for each answer of the server, {progress} for bytes accepted by it,
// and at last {success}, {failure} or {aborted}.
import fs from 'node:fs'
import { PassThrough } from 'node:stream'
import * as tus from 'tus-js-client'

const c = JSON.parse(process.env.CASE)
const say = (what) => fs.writeSync(1, JSON.stringify(what) + '\n')

const sources = {
  file: () => fs.createReadStream(c.file),
  buffer: () => fs.readFileSync(c.file),
  stream: () => fs.createReadStream(c.file).pipe(new PassThrough()),
}

const options = {
  endpoint: c.endpoint,
  headers: { Authorization: `Bearer ${c.token}` },
  metadata: c.metadata ?? {},
  chunkSize: c.chunkSize || Infinity,
  retryDelays: Array(c.retries ?? 0).fill(20),
  uploadUrl: c.uploadUrl,
  uploadDataDuringCreation: c.uploadDataDuringCreation ?? false,
  uploadLengthDeferred: c.uploadLengthDeferred ?? false,
  parallelUploads: c.parallelUploads ?? 1,
  onBeforeRequest(req) {
    if (c.abortAfterMs && req.getMethod() === 'PATCH') setTimeout(abort, c.abortAfterMs)
  },
  onAfterResponse(req, res) {
    const offset = res.getHeader('Upload-Offset')
    say({
      answer: {
        method: req.getMethod(),
        url: res.getHeader('Location') ?? req.getURL(),
        status: res.getStatus(),
        offset: offset === undefined ? undefined : Number(offset),
        recording: res.getHeader('Reprise-Recording'),
      },
    })
  },
  onChunkComplete(_size, accepted) {
    say({ progress: accepted })
  },
  onSuccess() {
    say({ success: { url: upload.url } })
  },
  onError(error) {
    const res = error.originalResponse
    say({ failure: { message: error.message, status: res?.getStatus() ?? 0, body: res?.getBody() ?? '' } })
  },
}
if (c.storage) options.urlStorage = new tus.FileUrlStorage(c.storage)

const upload = new tus.Upload(sources[c.source ?? 'file'](), options)

let aborting = false
async function abort() {
  if (aborting) return
  aborting = true
  await upload.abort(true)
  say({ aborted: { url: upload.url } })
}

if (c.storage) {
  const [previous] = await upload.findPreviousUploads()
  if (previous) upload.resumeFromPreviousUpload(previous)
}
upload.start()
