// `npm run bench`: this SDK beside Segment's, in turns, each measurement in a fresh process. Prints JSON; --quick for one round.
import { execFile, fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { SDKS } from './sdks.mjs'

if (!existsSync(fileURLToPath(SDKS.segment.path))) {
  throw new Error(`${SDKS.segment.path} is missing: run make node-deps at the top of the repository`)
}

const ROUNDS = process.argv.includes('--quick') ? 1 : 5
const OUTAGE_MS = 3000
const file = (name) => fileURLToPath(new URL(name, import.meta.url))
const run = promisify(execFile)

/** [measure, has a collector, its outage, most rounds] */
const MEASURES = [
  ['import', false, 0, ROUNDS * 2],
  ['call', false, 0, ROUNDS],
  ['memory', false, 0, Math.min(ROUNDS, 3)],
  ['throughput', true, 0, Math.min(ROUNDS, 3)],
  ['drain', true, OUTAGE_MS, Math.min(ROUNDS, 3)],
]

async function measure(sdk, what, needsCollector, outage) {
  const collector = needsCollector ? fork(file('collector.mjs'), [String(outage)]) : undefined
  try {
    const host = collector ? [`http://127.0.0.1:${(await once(collector, 'message'))[0].port}`] : []
    const { stdout } = await run(process.execPath, ['--expose-gc', file('client.mjs'), sdk, what, ...host])
    if (outage === 0) return JSON.parse(stdout)
    collector.send('end')
    const [{ events, after_s }] = await once(collector, 'message')
    return { after_s, arrived: events }
  } finally {
    collector?.kill()
  }
}

function medians(results) {
  const middle = (values) => values.sort((a, b) => a - b)[values.length >> 1]
  return Object.fromEntries(
    Object.keys(results[0]).map((key) => [
      key,
      Number(middle(results.map((result) => result[key])).toPrecision(3)),
    ]),
  )
}

const report = { node: process.version, cpus: cpus().length, rounds: ROUNDS }
for (const [what, needsCollector, outage, rounds] of MEASURES) {
  const results = Object.fromEntries(Object.keys(SDKS).map((sdk) => [sdk, []]))
  for (let round = 0; round < rounds; round++) {
    for (const sdk of Object.keys(SDKS)) results[sdk].push(await measure(sdk, what, needsCollector, outage))
  }
  report[what] = Object.fromEntries(Object.entries(results).map(([sdk, list]) => [sdk, medians(list)]))
}
console.log(JSON.stringify(report, undefined, 2))
