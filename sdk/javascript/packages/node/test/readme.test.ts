// Every example of the README runs as it is, against a collector on the loopback.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { built, finished, PACKAGE } from './support/built.js'
import { Collector } from './support/server.js'

let collector: Collector

before(async () => {
  built()
  collector = await Collector.start()
})

after(() => collector.stop())

const readme = readFileSync(join(PACKAGE, 'README.md'), 'utf8')
const examples = [...readme.matchAll(/^## (.*)$|^```js\n([\s\S]*?)^```$/gm)]
/** What examples that do not run to their end by themselves are asked for. */
const FINISH: Record<string, string> = {
  'The end of the process': "\nawait handler({ userId: 'u1' }); process.kill(process.pid, 'SIGTERM')",
}

let section = 'first event'
let number = 0
for (const [, heading, code] of examples) {
  if (heading !== undefined) section = heading
  if (code === undefined) continue
  const title = section
  test(`example ${++number}: ${title}`, async () => {
    const script = code.replaceAll('https://collect.example.com', collector.host) + (FINISH[title] ?? '')
    // From within the package its own name resolves to its build.
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script], { cwd: PACKAGE })
    const { code: exit, stderr } = await finished(child)
    assert.deepEqual([exit, stderr], [0, ''])
  })
}

test('the examples sent what they say', () => {
  assert.ok(number >= 8)
  assert.deepEqual(collector.events, [
    'Signed Up',
    'Invoice Paid',
    'Report Viewed',
    'Invite Sent',
    'Report Viewed',
  ])
})
