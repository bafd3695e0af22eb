// A collector that only counts: answers 503 for OUTAGE ms after the first request, then 200. Tells its port, and at the
// end how many events came and how long after the outage the last one did.
import { createServer } from 'node:http'

const outage = Number(process.argv[2] ?? 0)
let since
let last = 0
const seen = new Set()

const server = createServer((request, response) => {
  const chunks = []
  request.on('data', (chunk) => chunks.push(chunk))
  request.on('end', () => {
    since ??= performance.now()
    if (performance.now() - since < outage) {
      response.writeHead(503).end()
      return
    }
    if (outage > 0) for (const { messageId } of JSON.parse(Buffer.concat(chunks)).batch) seen.add(messageId)
    last = performance.now()
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"success":true}')
  })
})

server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }))
process.on('message', () => {
  process.send({ events: seen.size, after_s: (last - since - outage) / 1000 }, () => process.exit(0))
})
