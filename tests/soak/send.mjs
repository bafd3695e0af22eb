// A program that sends with @headwater/node: `node send.mjs SDK HOST EVENT SIZE FIRST COUNT`, prints what its calls came to.
import { setImmediate } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'

const [, , sdk, host, event, size, first, count] = process.argv
const { Analytics } = await import(pathToFileURL(sdk).href)
const analytics = new Analytics({
  writeKey: 'wk_api',
  host,
  httpRequestTimeout: 2000,
  flushAt: Number(size),
  overflow: 'block',
  maxQueueEvents: 2000,
}).on('error', () => {})

const last = Number(first) + Number(count)
for (let n = Number(first); n < last; n += 1) {
  const note = n % 100 === 50 ? 'x'.repeat(40_000) : 'ä€😀'.repeat(20)
  const name = n % 100 === 75 ? event + 'x'.repeat(1100) : event
  await analytics.track({ userId: `u${n % 500}`, event: name, properties: { n, plan: 'team', note } })
  if (n % 200 === 0) await setImmediate()
}
const report = await analytics.closeAndFlush({ timeout: 300_000 })
const { delivered, rejectedCount: rejected, droppedCount: dropped, queued } = report
console.log(JSON.stringify({ called: Number(count), delivered, rejected, dropped, queued }))
