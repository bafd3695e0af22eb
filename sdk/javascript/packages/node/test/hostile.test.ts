// What settings, HTTP clients and middleware of an app do wrong: nothing stops, and nothing reaches the app.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Analytics } from '../src/analytics.js'
import type { HttpClient } from '../src/transport.js'

const ok = async () => new Response('{"success":true}')

function open(httpClient: unknown, more: object = {}): Analytics {
  return new Analytics({
    writeKey: 'wk',
    host: 'http://collector.invalid',
    httpClient: httpClient as HttpClient,
    ...more,
  })
}

test('endless timeouts and intervals are long, not none', async () => {
  const slow = (_: string, { signal }: { signal: AbortSignal }) =>
    new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason))
      setTimeout(() => resolve(new Response('')), 50)
    })
  const requests: unknown[] = []
  const analytics = open(slow, { httpRequestTimeout: Infinity, flushInterval: Infinity })
  analytics.on('http_request', (request) => requests.push(request))
  analytics.track({ userId: 'u', event: 'A' })
  await new Promise((resolve) => setTimeout(resolve, 20))
  assert.equal(requests.length, 0)
  assert.deepEqual([(await analytics.closeAndFlush({ timeout: 1000 })).delivered, requests.length], [1, 1])
})

for (const [name, answer] of [
  ['a body that is no text', { status: 200, text: async () => ({ rejected: [] }) }],
  ['a header that is no text', { status: 429, headers: { get: () => 0.01 } }],
] as const) {
  test(`an HTTP client that answers with ${name} stops nothing`, async () => {
    let calls = 0
    const client = { makeRequest: async () => (++calls > 1 ? ok() : answer) }
    const analytics = open(client)
    analytics.track({ userId: 'u', event: 'A' })
    assert.equal((await analytics.closeAndFlush({ timeout: 2000 })).delivered, 1)
  })
}

test('events that a middleware holds are bounded, and the rest is reported', async () => {
  const analytics = open(ok, { maxQueueEvents: 10 })
  let release = () => {}
  const gate = new Promise<void>((resolve) => {
    release = resolve
  })
  analytics.use(async (message) => {
    await gate
    return message
  })
  analytics.on('error', () => {})
  for (let n = 0; n < 25; n++) analytics.track({ userId: 'u', event: 'A' })
  const report = analytics.closeAndFlush({ timeout: 2000 })
  release()
  const { delivered, droppedCount, dropped } = await report
  assert.deepEqual([delivered, droppedCount, dropped[0]!.reason], [10, 15, 'queue_full'])
})
