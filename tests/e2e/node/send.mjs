// Stock @segment/analytics-node, unmodified: send COUNT tracks and one of each other call, then close.
// usage: node send.mjs HOST WRITE_KEY EVENT COUNT
import { Analytics } from '@segment/analytics-node'

const [host, writeKey, event, count] = process.argv.slice(2)
const analytics = new Analytics({ writeKey, host, maxRetries: 10, flushAt: 20, flushInterval: 500 })
const failed = []
analytics.on('error', (error) => failed.push(String(error?.reason ?? error)))

const userId = `user-${event}`
analytics.identify({ userId, traits: { email: 'lin@example.com' } })
analytics.group({ userId, groupId: `acc-${event}`, traits: { name: 'Acme', plan: 'team' } })
analytics.page({ userId, name: 'Docs', properties: { url: 'https://app.example/docs' } })
analytics.screen({ userId, name: 'Main' })
analytics.alias({ userId, previousId: `old-${event}` })
for (let n = 0; n < Number(count); n += 1) {
  analytics.track({ userId: `u${n}`, event, properties: { n, nested: { deep: [1, 2, { three: 'drei' }] } } })
}
await analytics.closeAndFlush({ timeout: 30000 })
console.log(JSON.stringify({ failed }))
process.exit(failed.length ? 1 : 0)
