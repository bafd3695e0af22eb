// The end of a script, and a process that is frozen and thawed, as functions in the cloud are.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { afterEach, beforeEach, test } from 'node:test'
import { finished, start } from './support/built.js'
import { Collector } from './support/server.js'

let collector: Collector

beforeEach(async () => {
  collector = await Collector.start()
})

afterEach(() => collector.stop())

test('a script that ends without a flush delivers what it tracked, at once', async () => {
  const { code, stderr } = await finished(
    start(
      `const analytics = new Analytics({ writeKey: 'wk', host, flushInterval: 600_000 })
       for (let i = 0; i < 250; i++) analytics.track({ userId: 'u1', event: String(i) })`,
      collector.host,
    ),
  )
  assert.deepEqual([code, stderr], [0, ''])
  assert.deepEqual(
    collector.events,
    Array.from({ length: 250 }, (_, i) => String(i)),
  )
})

test('a collector that does not answer delays the end by exitTimeout, and the loss is said', async () => {
  collector.answer(() => {})
  const started = performance.now()
  const { code, stderr } = await finished(
    start(
      `const analytics = new Analytics({ writeKey: 'wk', host, exitTimeout: 200 })
       analytics.track({ userId: 'u1', event: 'A' })`,
      collector.host,
    ),
  )
  assert.equal(code, 0)
  assert.ok(performance.now() - started < 5000)
  assert.match(stderr, /is not delivered: the process ended before it was delivered/)
})

test('a collector that is away does not keep a script alive either', async () => {
  const { host } = collector
  await collector.stop()
  const { code, stdout } = await finished(
    start(
      `const analytics = new Analytics({ writeKey: 'wk', host, exitTimeout: 100 })
       analytics.on('error', (error) => console.log(error.code))
       for (let i = 0; i < 3; i++) analytics.track({ userId: 'u1', event: 'A' })`,
      host,
    ),
  )
  assert.deepEqual([code, stdout], [0, 'exit\nexit\nexit\n'])
  collector = await Collector.start()
})

test('a script that awaits room in a full queue goes on when the collector is back', async () => {
  collector.answer((response, _, count) => {
    response.statusCode = count <= 2 ? 503 : 200
    response.end('{"success":true}')
  })
  const { code, stderr } = await finished(
    start(
      `const analytics = new Analytics({ writeKey: 'wk', host, overflow: 'block', maxQueueEvents: 2, exitTimeout: 1 })
       for (let i = 0; i < 20; i++) await analytics.track({ userId: 'u1', event: String(i) })
       await analytics.flush()`,
      collector.host,
    ),
  )
  assert.deepEqual([code, stderr], [0, ''])
  assert.equal(new Set(collector.ids).size, 20)
})

test('a client that holds nothing delays nothing, and goes on after a beforeExit of its own', async () => {
  const { code } = await finished(
    start(
      `const analytics = new Analytics({ writeKey: 'wk', host })
       let more = 2
       process.on('beforeExit', () => { if (more-- > 0) setTimeout(() => analytics.track({ userId: 'u1', event: 'later' })) })
       analytics.track({ userId: 'u1', event: 'first' })`,
      collector.host,
    ),
  )
  assert.equal(code, 0)
  assert.deepEqual(collector.events, ['first', 'later', 'later'])
})

test("what a beforeExit listener of the app's own calls, without a turn of the loop, is delivered", async () => {
  const { code } = await finished(
    start(
      `const analytics = new Analytics({ writeKey: 'wk', host })
       process.once('beforeExit', () => analytics.track({ userId: 'u1', event: 'last' }))
       analytics.track({ userId: 'u1', event: 'first' })
       await analytics.flush()`,
      collector.host,
    ),
  )
  assert.equal(code, 0)
  assert.deepEqual(collector.events, ['first', 'last'])
})

test('a client that is let go of after its only event was refused can be collected', async () => {
  const { stdout } = await finished(
    start(
      `const use = () => {
         const analytics = new Analytics({ writeKey: 'wk', host }).on('error', ({ code }) => console.log(code))
         analytics.track({ userId: 'u1', event: 'A', properties: { text: 'é'.repeat(20_000) } })
         return new WeakRef(analytics)
       }
       const client = use()
       await new Promise((resolve) => setTimeout(resolve, 1))
       gc()
       console.log(client.deref())`,
      collector.host,
      process.execPath,
      ['--expose-gc', '--input-type=module', '--eval'],
    ),
  )
  assert.equal(stdout, 'event_too_large\nundefined\n')
})

test('a process that is awaiting a flush to a collector that is away stays until the flush says so', async () => {
  const { host } = collector
  await collector.stop()
  const { code, stdout } = await finished(
    start(
      `const analytics = new Analytics({ writeKey: 'wk', host, exitTimeout: 0 }).on('error', () => {})
       analytics.track({ userId: 'u1', event: 'A' })
       const report = await analytics.flush({ timeout: 150 })
       console.log(report.delivered, report.queued)`,
      host,
    ),
  )
  assert.deepEqual([code, stdout], [0, '0 1\n'])
  collector = await Collector.start()
})

test("a fault in the app is still the app's own: its exit code and message are untouched", async () => {
  const { code, stderr } = await finished(
    start(
      `new Analytics({ writeKey: 'wk', host }).track({ userId: 'u1', event: 'A' })
       throw new Error('the app broke')`,
      collector.host,
    ),
  )
  assert.equal(code, 1)
  assert.match(stderr, /the app broke/)
})

test('frozen with a request under way and thawed after its connection died: each event is delivered, none is new', async () => {
  collector.answer((response, _, count) => {
    // The first request is never answered: the process is frozen while it waits.
    if (count > 1) response.end('{"success":true}')
  })
  const child = start(
    `const analytics = new Analytics({ writeKey: 'wk', host, flushInterval: 1, httpRequestTimeout: 60_000 })
     for (let i = 0; i < 5; i++) analytics.track({ userId: 'u1', event: String(i) })
     const report = await analytics.flush({ timeout: Infinity })
     console.log(report.delivered, report.rejectedCount, report.droppedCount, report.queued)`,
    collector.host,
  )
  const end = finished(child)
  await collector.until(() => collector.requests.length === 1)
  child.kill('SIGSTOP')
  const [socket] = collector.sockets
  socket!.resetAndDestroy()
  await once(socket!, 'close')
  child.kill('SIGCONT')
  assert.deepEqual(await end, { code: 0, stdout: '5 0 0 0\n', stderr: '' })
  const [first, second] = collector.requests
  assert.deepEqual(second?.body.batch, first?.body.batch, 'the same messages, the same ids')
})

test('frozen between two invocations: the connection that was kept is dead, and the next flush delivers all the same', async () => {
  const child = start(
    `const analytics = new Analytics({ writeKey: 'wk', host })
     const next = new Promise((resolve) => process.once('SIGUSR2', resolve))
     const waiting = setInterval(() => {}, 1000)
     analytics.track({ userId: 'u1', event: 'before' })
     console.log((await analytics.flush()).delivered)
     await next
     clearInterval(waiting)
     analytics.track({ userId: 'u1', event: 'after' })
     console.log((await analytics.flush()).delivered)`,
    collector.host,
  )
  const end = finished(child)
  await once(child.stdout!, 'data')
  child.kill('SIGSTOP')
  for (const socket of collector.sockets) socket.destroy()
  child.kill('SIGUSR2')
  child.kill('SIGCONT')
  assert.deepEqual(await end, { code: 0, stdout: '1\n1\n', stderr: '' })
  assert.deepEqual(collector.events, ['before', 'after'])
})
