// Every case of sdk/contract that names this SDK, in virtual time.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { Analytics } from '../src/analytics.js'
import type { Answer } from '../src/answers.js'
import { type HttpRequest, TimedOut } from '../src/transport.js'
import type { FlushReport, Params } from '../src/types.js'
import { version } from '../src/version.js'
import { VirtualTime } from './support/virtual.js'

type Json = Record<string, unknown>
type Call = Json & { method: string; times?: number; during?: number; mutateAfter?: boolean }
type Scripted = {
  status?: number
  headers?: Json
  body?: unknown
  text?: string
  reset?: true
  silent?: true
}
interface Expected {
  messageIds?: string[]
  after_s?: number
  headers?: Record<string, string | null>
  sentAt?: string
  timestamps?: string[]
  body?: unknown
}
interface Case {
  name: string
  sdks?: string[]
  clock?: string
  random?: number
  config?: Json
  calls: Call[]
  flushTimeout_s?: number
  answers?: Scripted[]
  requests: Expected[]
  report?: { delivered: number; queued: number; rejected: Json[]; dropped: Json[] }
}

const ROOT = new URL('../../../../contract/', import.meta.url)
const read = (path: string) => JSON.parse(readFileSync(new URL(path, ROOT), 'utf8'))
const files = (kind: string) =>
  readdirSync(new URL(kind, ROOT)).map((file) => read(`${kind}/${file}`) as Case[])
const { defaults, node: profile } = JSON.parse(
  readFileSync(new URL('profiles.json', ROOT), 'utf8').replaceAll('$version', version),
)

/** A case's server and client, and what went between them. */
class Stage {
  readonly time: VirtualTime
  readonly seen: { request: HttpRequest; at: number }[] = []
  private made = 0
  private readonly analytics: Analytics
  private readonly timeout: number

  constructor(private readonly given: Case) {
    const config = { ...defaults.config, ...given.config }
    this.timeout = config.timeout_s * 1000
    this.time = new VirtualTime(Date.parse(given.clock ?? defaults.clock), given.random ?? defaults.random)
    const { writeKey, flushAt, maxQueueEvents, maxQueueBytes, overflow, maxRetries } = config
    this.analytics = new Analytics(
      {
        writeKey,
        host: 'http://contract.example',
        flushAt,
        maxQueueEvents,
        maxQueueBytes,
        overflow,
        maxRetries,
      },
      { ...this.parts(), ids: () => `m${++this.made}`, transport: (request) => this.answer(request) },
    ).on('error', () => {})
  }

  async play(): Promise<FlushReport> {
    for (const call of this.given.calls) if (call.during === undefined) this.call(call)
    const { flushTimeout_s: limit } = this.given
    return this.time.until(this.analytics.flush({ timeout: limit === undefined ? Infinity : limit * 1000 }))
  }

  private parts() {
    const { now, random, timer } = this.time
    return { now, random, timer }
  }

  private call({ method, times = 1, during: _, mutateAfter, ...written }: Call): void {
    for (let i = 0; i < times; i++) {
      if (method === 'setAccount') {
        this.analytics.setAccount(written.groupId as string | null)
        continue
      }
      const params = revive(written) as Params
      const call = this.analytics[method as 'track'] as (params: Params) => unknown
      call(params)
      if (mutateAfter) spoil(params)
    }
  }

  private async answer(request: HttpRequest): Promise<Answer> {
    this.seen.push({ request, at: this.time.time })
    for (const call of this.given.calls) if (call.during === this.seen.length) this.call(call)
    const scripted =
      this.given.answers?.[this.seen.length - 1] ?? (this.given.answers ? undefined : { status: 200 })
    assert.ok(scripted, `request ${this.seen.length} is one more than the case has answers`)
    if (scripted.reset) throw new Error('reset')
    if (scripted.silent) {
      this.time.time += this.timeout
      throw new TimedOut('timeout')
    }
    const headers = new Headers(scripted.headers as Record<string, string>)
    const body = scripted.text ?? (scripted.body === undefined ? '' : JSON.stringify(scripted.body))
    const retryAfter = headers.get('retry-after') ?? headers.get('x-ratelimit-reset') ?? undefined
    return { status: scripted.status!, body, retryAfter }
  }
}

/** The values that the cases write as objects with a `$` key. */
function revive(value: unknown, key = ''): unknown {
  if (key === 'timestamp') return new Date(value as string)
  if (Array.isArray(value)) return value.map((item) => revive(item))
  if (typeof value !== 'object' || value === null) return value
  const { $repeat, $number } = value as { $repeat?: [string, number]; $number?: string }
  if ($repeat) return $repeat[0].repeat($repeat[1])
  if ($number) return Number($number)
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, revive(item, name)]))
}

function spoil(value: object): void {
  for (const item of Object.values(value)) if (typeof item === 'object' && item !== null) spoil(item)
  if (Array.isArray(value)) value.push('changed')
  else (value as Json).changed = true
}

/** The case's body, with what this SDK adds. */
function filled(body: unknown, clock: string): unknown {
  const text = JSON.stringify(body).replaceAll('"$clock"', JSON.stringify(clock))
  const filled = JSON.parse(text.replaceAll('"$library"', JSON.stringify(profile.library)))
  for (const message of filled.batch) {
    message.context = { ...profile.context, ...message.context }
    for (const [name, value] of Object.entries(profile.fields)) message[name] ??= value
    if (message.type === 'page') message.properties = { ...profile.pageProperties, ...message.properties }
  }
  return filled
}

/** `m1..m15` written out. */
function written(ids: string[]): string[] {
  return ids.flatMap((id) => {
    const range = /^m(\d+)\.\.m(\d+)$/.exec(id)
    if (!range) return [id]
    const [from, to] = [Number(range[1]), Number(range[2])]
    return Array.from({ length: to - from + 1 }, (_, i) => `m${from + i}`)
  })
}

function checkHeaders(request: HttpRequest, expected: Record<string, string | null>): void {
  const headers = new Headers(request.headers)
  for (const [name, value] of Object.entries(expected)) assert.equal(headers.get(name), value, name)
}

function checkReport(report: FlushReport, expected: NonNullable<Case['report']>): void {
  const only = (items: readonly object[], wanted: Json[]) =>
    items.map((item, i) =>
      Object.fromEntries(Object.keys(wanted[i] ?? item).map((key) => [key, (item as Json)[key]])),
    )
  assert.deepEqual(
    {
      ...expected,
      delivered: report.delivered,
      queued: report.queued,
      rejected: only(report.rejected, expected.rejected),
      dropped: only(report.dropped, expected.dropped),
    },
    expected,
  )
}

const mine = (kind: string) =>
  files(kind)
    .flat()
    .filter(({ sdks }) => sdks?.includes('node') ?? true)

describe('wire', () => {
  for (const given of mine('wire')) {
    test(given.name, async () => {
      const stage = new Stage(given)
      await stage.play()
      assert.equal(stage.seen.length, given.requests.length)
      given.requests.forEach((expected, i) => {
        const { request } = stage.seen[i]!
        assert.equal(request.method, 'POST')
        assert.equal(request.url, `http://contract.example${profile.path}`)
        checkHeaders(request, profile.headers)
        assert.deepEqual(JSON.parse(request.body), filled(expected.body, given.clock ?? defaults.clock))
      })
    })
  }
})

describe('behaviour', () => {
  for (const given of mine('behaviour')) {
    test(given.name, async () => {
      const stage = new Stage(given)
      let before = stage.time.time
      const report = await stage.play()
      const seen = stage.seen.map(({ request, at }) => ({ body: JSON.parse(request.body), request, at }))
      const ids = seen.map(({ body }) => body.batch.map(({ messageId }: { messageId: string }) => messageId))
      assert.deepEqual(
        ids,
        given.requests.map(({ messageIds }) => written(messageIds!)),
      )
      given.requests.forEach((expected, i) => {
        const { body, request, at } = seen[i]!
        const after = (at - before) / 1000
        assert.ok(Math.abs(after - expected.after_s!) <= 0.001, `request ${i + 1} after ${after} s`)
        before = at
        checkHeaders(request, expected.headers ?? {})
        if (expected.sentAt) assert.equal(body.sentAt, expected.sentAt)
        const times = body.batch.map(({ timestamp }: { timestamp: string }) => timestamp)
        if (expected.timestamps) assert.deepEqual(times, expected.timestamps)
      })
      checkReport(report, given.report!)
    })
  }
})

test('the contract has cases for this SDK', () => {
  assert.ok(mine('wire').length >= 20 && mine('behaviour').length >= 30)
})
