// The runner of sdk/contract: every case that names the browser or nobody, in virtual time, on a fake page.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { createAnalytics } from '../src/analytics.js'
import { offline } from '../src/offline.js'
import type { Analytics, FlushReport, Json, Options } from '../src/types.js'
import { type Answer, FakePage, type Request } from './fake.js'

interface Call extends Json {
  method: string
  times?: number
  during?: number
  mutateAfter?: boolean
}

interface ScriptedAnswer {
  status?: number
  headers?: Record<string, string>
  body?: unknown
  text?: string
  reset?: boolean
  silent?: boolean
}

type Headers_ = Record<string, string | null>

interface Case {
  name: string
  sdks?: string[]
  clock?: string
  random?: number
  config?: Json
  calls: Call[]
  answers?: ScriptedAnswer[]
  requests: Json[]
  report?: { delivered: number; queued: number; rejected: Json[]; dropped: Json[] }
  flushTimeout_s?: number
}

const ROOT = new URL('../../../../contract/', import.meta.url)
const read = (path: string) => JSON.parse(readFileSync(new URL(path, ROOT), 'utf8'))
const { defaults, browser: profile } = read('profiles.json')
const library = { name: profile.library.name, version: 'development' }

function cases(folder: string): Case[] {
  const files = readdirSync(new URL(folder, ROOT)).filter((name) => name.endsWith('.json'))
  const all = files.flatMap((name) => read(`${folder}/${name}`) as Case[])
  const ours = all.filter(({ sdks }) => !sdks || sdks.includes('browser'))
  assert.ok(ours.length > 10, `${folder} has only ${ours.length} cases`)
  return ours
}

/** Values that JSON does not have, as the cases write them. */
function value(json: unknown): unknown {
  if (Array.isArray(json)) return json.map(value)
  if (!json || typeof json !== 'object') return json
  const { $repeat, $number } = json as { $repeat?: [string, number]; $number?: string }
  if ($repeat) return $repeat[0].repeat($repeat[1])
  if ($number) return Number($number)
  return Object.fromEntries(Object.entries(json).map(([key, item]) => [key, value(item)]))
}

/** A page of the profile's environment with the SDK of a case. */
function start(one: Case): [FakePage, Analytics] {
  const { anonymousId, ...environment } = profile.environment
  const page = new FakePage({
    ...environment,
    cookie: `ajs_anonymous_id=${anonymousId}`,
    clock: Date.parse(one.clock ?? defaults.clock),
    random: one.random ?? defaults.random,
  })
  const { writeKey, timeout_s, ...config } = { ...defaults.config, ...one.config }
  const options: Options = { host: 'https://collect.example', timeout: timeout_s * 1000, ...config }
  return [page, createAnalytics(page.platform(), writeKey, options, offline)]
}

/** Calls the SDK as a page would: ids in the options, except those that a call has as arguments. */
function perform(sdk: Analytics, call: Call): void {
  const { method, times = 1, during: _during, mutateAfter, ...given } = call
  const fields = value(given) as Json
  const { event, category, name, properties, traits, groupId, previousId, ...options } = fields
  if (typeof options.timestamp === 'string') options.timestamp = new Date(options.timestamp)
  const { userId, ...rest } = options
  const run: Record<string, () => unknown> = {
    track: () => sdk.track(event as string, properties as Json, options),
    identify: () => sdk.identify(userId as string, traits as Json, rest),
    page: () => sdk.page(category as string, name as string, properties as Json, options),
    screen: () => sdk.screen(category as string, name as string, properties as Json, options),
    group: () => sdk.group(groupId as string, traits as Json, options),
    alias: () => sdk.alias(userId as string, previousId as string, rest),
  }
  for (let n = 0; n < times; n++) run[method]!()
  if (mutateAfter) for (const part of [properties, traits]) spoil(part)
}

function spoil(part: unknown): void {
  if (!part || typeof part !== 'object') return
  for (const item of Object.values(part)) spoil(item)
  if (Array.isArray(part)) part.push('spoilt')
  else Object.assign(part, { spoilt: true })
}

/** All calls, then flush; returned is its report and when it began. */
async function execute(one: Case): Promise<{ page: FakePage; report: FlushReport; began: number }> {
  const [page, sdk] = start(one)
  page.answer = (_request, n) => {
    for (const call of one.calls) if (call.during === n) perform(sdk, call)
    return answer(one.answers?.[n - 1])
  }
  for (const call of one.calls) if (!call.during) perform(sdk, call)
  const began = page.time
  let report: FlushReport | undefined
  sdk.flush((one.flushTimeout_s ?? 1e6) * 1000).then((done) => {
    report = done
  })
  await page.until(() => report !== undefined)
  return { page, report: report!, began }
}

function answer(script: ScriptedAnswer | undefined): Answer {
  if (!script) return { status: 200, text: '{"success":true}' }
  if (script.reset) return 'reset'
  if (script.silent) return 'silent'
  const text = 'body' in script ? JSON.stringify(script.body) : script.text
  return { status: script.status!, headers: script.headers, text }
}

/** What a wire case expects, with the profile filled in as sdk/contract/README.md says. */
function expectedBody(body: Json, clock: string): Json {
  const written = JSON.stringify(body)
    .replaceAll('"$clock"', JSON.stringify(clock))
    .replaceAll('"$library"', JSON.stringify(library))
  const filled = JSON.parse(written)
  filled.batch = filled.batch.map((message: Json) => ({
    ...profile.fields,
    ...message,
    context: { ...profile.context, ...(message.context as Json) },
    ...(message.type === 'page' && {
      properties: { ...profile.pageProperties, ...(message.properties as Json) },
    }),
  }))
  return filled
}

/** The profile's absent headers are absent whatever a case says. */
function checkHeaders(request: Request, headers: Headers_): void {
  const sent = new Headers(request.headers)
  for (const [name, expected] of Object.entries({ ...headers, ...profile.headers } as Headers_)) {
    assert.equal(sent.get(name), expected, name)
  }
}

/** m1..m3 is m1, m2, m3. */
function ids(written: string[]): string[] {
  return written.flatMap((one) => {
    const [first, last = first] = one.split('..').map((id) => Number(id.slice(1))) as [number, number?]
    return Array.from({ length: last - first + 1 }, (_, n) => `m${first + n}`)
  })
}

function checkReport(report: FlushReport, expected: NonNullable<Case['report']>): void {
  assert.equal(report.delivered, expected.delivered)
  assert.equal(report.queued, expected.queued)
  for (const list of ['rejected', 'dropped'] as const) {
    const items = report[list] as unknown as Json[]
    const found = items.map((item, n) => pick(item, Object.keys(expected[list][n] ?? {})))
    assert.deepEqual(found, expected[list])
    assert.equal(report[`${list}Count`], expected[list].length)
  }
}

const pick = (item: Json, keys: string[]) => Object.fromEntries(keys.map((key) => [key, item[key]]))

for (const one of cases('wire')) {
  test(`wire: ${one.name}`, async () => {
    const { page } = await execute(one)
    assert.equal(page.requests.length, one.requests.length)
    one.requests.forEach((expected, n) => {
      const request = page.requests[n]!
      const clock = one.clock ?? defaults.clock
      assert.equal(`${request.method} ${request.url}`, `POST https://collect.example${profile.path}`)
      checkHeaders(request, {})
      assert.deepEqual(JSON.parse(request.body), expectedBody(expected.body as Json, clock))
    })
  })
}

for (const one of cases('behaviour')) {
  test(`behaviour: ${one.name}`, async () => {
    const { page, report, began } = await execute(one)
    const bodies = page.requests.map((request) => JSON.parse(request.body))
    const column = (batch: Json[], key: string) => batch.map((message) => message[key])
    assert.deepEqual(
      bodies.map(({ batch }) => column(batch, 'messageId')),
      one.requests.map(({ messageIds }) => ids(messageIds as string[])),
    )
    one.requests.forEach((expected, n) => {
      const request = page.requests[n]!
      const after = (request.at - (page.requests[n - 1]?.at ?? began)) / 1000
      assert.ok(
        Math.abs(after - (expected.after_s as number)) <= 0.001,
        `request ${n + 1} came after ${after} s`,
      )
      checkHeaders(request, (expected.headers ?? {}) as Headers_)
      if (expected.sentAt) assert.equal(bodies[n].sentAt, expected.sentAt)
      if (expected.timestamps) assert.deepEqual(column(bodies[n].batch, 'timestamp'), expected.timestamps)
    })
    checkReport(report, one.report!)
  })
}
