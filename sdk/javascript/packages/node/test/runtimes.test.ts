// The built package in other runtimes, on the loopback: Deno and Bun, and one without anything of Node's.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { afterEach, beforeEach, test } from 'node:test'
import { built, finished, runtime, start } from './support/built.js'
import { Collector } from './support/server.js'

let collector: Collector

beforeEach(async () => {
  collector = await Collector.start()
})

afterEach(() => collector.stop())

const SCRIPT = `
  const analytics = new Analytics({ writeKey: 'wk', host })
  await analytics.ready
  const work = (userId) => analytics.withContext({ userId, account: 'acme' }, async () => {
    await new Promise((resolve) => setTimeout(resolve))
    analytics.track({ event: 'Within', properties: { bytes: new Uint8Array([1, 2, 255]), big: 2n ** 60n } })
  })
  await Promise.all([work('u1'), work('u2')])
  const report = await analytics.flush()
  console.log(report.delivered, report.warnings.length)
  analytics.track({ userId: 'u3', event: 'At the end' })
`

const RUNTIMES: ['deno' | 'bun', flags: (script: string) => string[]][] = [
  ['deno', () => ['eval', '--ext=js']],
  ['bun', () => ['--eval']],
]

for (const [name, flags] of RUNTIMES) {
  test(`${name}: delivery, scopes, values and the end of the script`, async () => {
    const { code, stdout, stderr } = await finished(
      start(SCRIPT, collector.host, runtime(name), flags(SCRIPT)),
    )
    assert.deepEqual([code, stdout], [0, '2 0\n'], stderr)
    assert.deepEqual(collector.events, ['Within', 'Within', 'At the end'])
    const [first, second] = collector.requests[0]!.body.batch
    assert.deepEqual([first?.userId, second?.userId].sort(), ['u1', 'u2'])
    assert.deepEqual(first?.properties, { bytes: 'AQL/', big: '1152921504606846976' })
    assert.match(String(collector.requests[0]?.headers['user-agent']), /^headwater-node\/\d/)
  })
}

test('without process and Buffer, as on the edge: delivery, and scopes before AsyncLocalStorage is there', async () => {
  const child = spawn(process.execPath, [
    '--input-type=module',
    '--eval',
    `const { log } = console
     const { Buffer } = globalThis
     delete globalThis.process
     delete globalThis.Buffer
     const { Analytics } = await import(${JSON.stringify(built())})
     const analytics = new Analytics({ writeKey: 'wk', host: ${JSON.stringify(collector.host)} })
     analytics.withContext({ userId: 'u1' }, () => analytics.track({ event: 'Synchronous', properties: { text: 'é' } }))
     await analytics.ready
     await analytics.withContext({ userId: 'u2' }, async () => {
       await new Promise((resolve) => setTimeout(resolve))
       analytics.track({ event: 'Awaited' })
     })
     globalThis.Buffer = Buffer // Node's own fetch needs it
     const { delivered, trouble } = await analytics.flush()
     log(delivered, trouble)`,
  ])
  assert.deepEqual(await finished(child), { code: 0, stdout: '2 undefined\n', stderr: '' })
  assert.deepEqual(
    collector.requests.flatMap(({ body }) => body.batch.map(({ userId }) => userId)),
    ['u1', 'u2'],
  )
})
