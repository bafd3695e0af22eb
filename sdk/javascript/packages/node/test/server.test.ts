// Against a real server on the loopback: what breaks on the way, and what the events' fate is.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { afterEach, beforeEach, test } from 'node:test'
import { Analytics, type AnalyticsError } from '../src/index.js'
import type { AnalyticsSettings } from '../src/settings.js'
import { Collector } from './support/server.js'

let collector: Collector
const clients: Analytics[] = []

beforeEach(async () => {
  collector = await Collector.start()
})

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.closeAndFlush({ timeout: 0 })))
  await collector.stop()
})

/** Retries at once: chance is 0. */
function client(settings: Partial<AnalyticsSettings> = {}): Analytics {
  const analytics = new Analytics({ writeKey: 'wk', host: collector.host, ...settings }, { random: () => 0 })
  clients.push(analytics)
  return analytics.on('error', () => {})
}

test('an event arrives and is reported as delivered', async () => {
  const analytics = client()
  analytics.track({ userId: 'u1', event: 'Signed Up', properties: { plan: 'pro' } })
  const report = await analytics.flush()
  assert.equal(report.delivered, 1)
  assert.deepEqual(collector.events, ['Signed Up'])
  assert.equal(collector.requests[0]?.headers.authorization, 'Basic d2s6')
})

test('events go by themselves after flushInterval', async () => {
  client({ flushInterval: 5 }).track({ userId: 'u1', event: 'A' })
  await collector.until(() => collector.ids.length === 1)
})

test('events go by themselves when flushAt of them wait', async () => {
  const analytics = client({ flushAt: 3, flushInterval: 600_000 })
  for (let i = 0; i < 3; i++) analytics.track({ userId: 'u1', event: 'A' })
  await collector.until(() => collector.ids.length === 3)
  assert.equal(collector.requests.length, 1)
})

test('a connection that is reset in the middle costs a retry, not the events', async () => {
  collector.answer((response, { socket }, count) =>
    count === 1 ? socket.resetAndDestroy() : response.end('{}'),
  )
  const analytics = client()
  analytics.track({ userId: 'u1', event: 'A' })
  assert.equal((await analytics.flush()).delivered, 1)
  assert.equal(new Set(collector.ids).size, 1, 'both attempts carry the same id')
  assert.equal(collector.requests[1]?.headers['x-retry-count'], '1')
})

test('a kept connection that the server closed meanwhile is replaced at once', async () => {
  const analytics = client()
  const sockets = () => collector.requests.map(({ socket }) => socket)
  do {
    analytics.track({ userId: 'u1', event: 'A' })
    await analytics.flush()
  } while (new Set(sockets()).size === sockets().length)
  // The next request on a connection that was used before meets a reset, as by a server that was about to close it.
  const known = new Set(sockets())
  let resets = 0
  collector.answer((response, { socket }) => {
    if (known.has(socket) && resets++ === 0) socket.resetAndDestroy()
    else response.end('{}')
  })
  do {
    analytics.track({ userId: 'u1', event: 'B' })
    assert.equal((await analytics.flush()).delivered, 1)
  } while (resets === 0)
  const retries = collector.requests.map(({ headers }) => headers['x-retry-count'])
  assert.deepEqual([...new Set(retries)], [undefined], 'no attempt counts as a retry: the server is well')
})

test('a server that is slower than httpRequestTimeout is asked again', async () => {
  collector.answer((response, _, count) => {
    if (count > 1) response.end('{}')
  })
  const analytics = client({ httpRequestTimeout: 50 })
  analytics.track({ userId: 'u1', event: 'A' })
  assert.equal((await analytics.flush()).delivered, 1)
  assert.ok(collector.requests.length >= 2)
})

test('a network that carries two events in time gets all of them, and is not asked for more each time', async () => {
  const sizes = () => collector.requests.map(({ body }) => body.batch.length)
  collector.answer((response) => {
    if (sizes().at(-1)! <= 2) response.end('{}')
  })
  const analytics = client({ httpRequestTimeout: 1000, flushAt: 8 })
  for (let turn = 0; turn < 2; turn++) {
    for (let i = 0; i < 8; i++) analytics.track({ userId: 'u1', event: `${turn} ${i}` })
    assert.equal((await analytics.flush()).delivered, 8)
  }
  // Whether it carries more by now is asked after two requests, and then after four.
  assert.deepEqual(sizes(), [8, 4, 2, 2, 4, 2, 2, 2, 2, 4, 2, 2])
  const names = [0, 1].flatMap((turn) => Array.from({ length: 8 }, (_, i) => `${turn} ${i}`))
  assert.deepEqual([...new Set(collector.events)], names)
})

test('a body that never ends is given up as well', async () => {
  collector.answer((response, _, count) => {
    if (count === 1) response.write('{"success":')
    else response.end('{}')
  })
  const analytics = client({ httpRequestTimeout: 50 })
  analytics.track({ userId: 'u1', event: 'A' })
  assert.equal((await analytics.flush()).delivered, 1)
})

test('503 and then a partial answer: each event has its own fate', async () => {
  collector.answer((response, _, count) => {
    if (count === 1) response.writeHead(503).end()
    else response.end('{"success":true,"rejected":[{"index":1,"messageId":"b","code":"event_too_long"}]}')
  })
  const analytics = client()
  const fates: string[] = []
  analytics.on('track', (ctx) => fates.push(`delivered ${ctx.event.messageId}`))
  analytics.on('error', (error) => fates.push(`${error.code} ${error.messageId}`))
  for (const messageId of ['a', 'b', 'c']) analytics.track({ userId: 'u1', event: 'A', messageId })
  const report = await analytics.flush()
  assert.equal(report.delivered, 2)
  assert.deepEqual(report.rejected, [
    { messageId: 'b', type: 'track', code: 'event_too_long', message: undefined },
  ])
  assert.deepEqual(fates, ['delivered a', 'event_too_long b', 'delivered c'])
})

test('a redirect is not followed', async () => {
  const elsewhere = await Collector.start()
  collector.answer((response, _, count) => {
    if (count === 1) response.writeHead(302, { location: `${elsewhere.host}/v1/batch` }).end()
    else response.end('{}')
  })
  const analytics = client()
  analytics.track({ userId: 'u1', event: 'A' })
  assert.equal((await analytics.flush()).delivered, 1)
  assert.deepEqual([collector.requests.length, elsewhere.requests.length], [2, 0])
  await elsewhere.stop()
})

test('nobody listens on the port: the events wait, and arrive when somebody does', async () => {
  const { port } = collector
  await collector.stop()
  const analytics = new Analytics(
    { writeKey: 'wk', host: `http://127.0.0.1:${port}` },
    { random: () => 0.01 },
  )
  clients.push(analytics)
  analytics.track({ userId: 'u1', event: 'A' })
  let first = await analytics.flush({ timeout: 30 })
  while (first.trouble === undefined) first = await analytics.flush({ timeout: 30 })
  assert.deepEqual([first.delivered, first.queued, first.droppedCount], [0, 1, 0])
  assert.match(String(first.trouble), /ECONNREFUSED/)
  collector = await Collector.start(undefined, port)
  const second = await analytics.flush({ timeout: 60_000 })
  assert.deepEqual([second.delivered, second.queued, second.trouble], [1, 0, undefined])
})

test('close gives up what is not delivered in time, says so, and takes no more calls', async () => {
  collector.answer(() => {})
  const analytics = client()
  const dead: unknown[] = []
  analytics.on('call_after_close', (message) => dead.push(message.event))
  analytics.track({ userId: 'u1', event: 'A', messageId: 'a' })
  const report = await analytics.closeAndFlush({ timeout: 50 })
  assert.deepEqual(report.dropped, [{ messageId: 'a', type: 'track', reason: 'closed' }])
  analytics.track({ userId: 'u1', event: 'B', messageId: 'b' })
  assert.deepEqual(dead, ['B'])
  assert.equal((await analytics.flush()).dropped[0]?.messageId, 'b')
})

test('with overflow block a producer goes at the pace of the collector, and nothing is lost', async () => {
  const analytics = client({ overflow: 'block', maxQueueEvents: 50, flushAt: 20 })
  for (let i = 0; i < 1000; i++) await analytics.track({ userId: 'u1', event: `${i}` })
  const report = await analytics.flush()
  assert.deepEqual([report.delivered, report.droppedCount], [1000, 0])
  assert.deepEqual(
    collector.events,
    Array.from({ length: 1000 }, (_, i) => `${i}`),
  )
})

test('flush waits for a middleware that takes its time', async () => {
  const analytics = client()
  analytics.use(async (message) => {
    await once(AbortSignal.timeout(5), 'abort')
    return { ...message, context: { ...message.context, slow: true } }
  })
  analytics.track({ userId: 'u1', event: 'A' })
  assert.equal((await analytics.flush()).delivered, 1)
  assert.equal((collector.requests[0]!.body.batch[0]!.context as { slow: boolean }).slow, true)
})

test('what a middleware hands on after the close came too late, and is reported', async () => {
  const analytics = client()
  const heard = new Promise<AnalyticsError>((resolve) => analytics.on('error', resolve))
  analytics.use(async (message) => {
    await once(AbortSignal.timeout(20), 'abort')
    return message
  })
  analytics.track({ userId: 'u1', event: 'A', messageId: 'a' })
  assert.equal((await analytics.closeAndFlush({ timeout: 1 })).queued, 1)
  const { code, messageId } = await heard
  assert.deepEqual([code, messageId], ['closed', 'a'])
})

test('an event that a slow middleware made too large is refused as such', async () => {
  const analytics = client()
  analytics.use(async (message) => ({ ...message, properties: { text: 'x'.repeat(40_000) } }))
  analytics.track({ userId: 'u1', event: 'A' })
  assert.equal((await analytics.flush()).rejected[0]?.code, 'event_too_large')
})

test('a client of the app that answers nonsense is as no answer, and costs nothing but time', async () => {
  let count = 0
  const analytics = client({
    httpClient: async (url, init) => (count++ === 0 ? (undefined as never) : fetch(url, init)),
  })
  analytics.track({ userId: 'u1', event: 'A' })
  assert.equal((await analytics.flush()).delivered, 1)
})

test("Segment's httpClient shapes both work", async () => {
  const viaFetch = client({ httpClient: (url, init) => fetch(url, init) })
  const viaClient = client({
    httpClient: { makeRequest: ({ url, method, headers, body }) => fetch(url, { method, headers, body }) },
  })
  for (const analytics of [viaFetch, viaClient]) {
    analytics.track({ userId: 'u1', event: 'A' })
    assert.equal((await analytics.flush()).delivered, 1)
  }
})
