// Sends what waits: one request at a time, in order, again and again until the server has answered for each event.
import { type Answer, backoff, judge, type Refusal, type Verdict } from './answers.js'
import type { Clock } from './clock.js'
import { text } from './encode.js'
import { Pace } from './pace.js'
import type { Entry, Queue } from './queue.js'
import { type HttpRequest, TimedOut, type Transport } from './transport.js'
import type { Drop } from './types.js'

/** Bytes of events in a request: a collector takes 512,000 with what is around them. */
export const REQUEST_BYTES = 475_000

/** Who hears what becomes of an event. Nothing here may throw. */
export interface Outcome {
  delivered(entry: Entry): void
  rejected(entry: Entry, code: string, message: string | undefined): void
  dropped(entry: Entry, reason: Drop['reason']): void
  /** Room was made in the queue. */
  room(): void
  /** Nothing is under way any more. */
  idle(): void
  request(request: HttpRequest): void
  response(request: HttpRequest, answer: Answer): void
}

export interface DeliveryOptions {
  readonly url: string
  readonly writeKey: string
  readonly headers: Record<string, string>
  readonly flushAt: number
  readonly maxRetries: number
}

export class Delivery {
  private running: Promise<void> | undefined
  private underWay: Entry[] = []
  private abort = new AbortController()
  private wake: (() => void) | undefined
  /** Events up to this place in line go now, in requests that are not full if need be. */
  private due = 0
  private abandoned = false
  /** The last attempt ended without an answer, at the timeout. */
  private late = false
  /** Why the last attempt was in vain; nothing after one that was not. */
  trouble: string | undefined
  private readonly key: string
  private readonly pace: Pace

  constructor(
    private readonly queue: Queue,
    private readonly outcome: Outcome,
    private readonly transport: Transport,
    private readonly clock: Clock,
    private readonly options: DeliveryOptions,
  ) {
    this.key = JSON.stringify(options.writeKey)
    this.pace = new Pace(options.flushAt)
  }

  get waiting(): number {
    return this.queue.length + this.underWay.length
  }

  get idle(): boolean {
    return this.running === undefined
  }

  get full(): boolean {
    return this.queue.length >= this.pace.most || this.queue.bytes >= REQUEST_BYTES
  }

  /** Lets all that waits now go. */
  hurry(): void {
    this.due = this.queue.added
    this.run()
  }

  /** Sends full requests, and those that are due; resolves when there are no more. Never rejects. */
  run(): Promise<void> {
    this.running ??= this.loop().finally(() => {
      this.running = undefined
      this.outcome.idle()
    })
    return this.running
  }

  /** Gives everything up that has not been answered for. */
  abandon(reason: Drop['reason']): void {
    this.abandoned = true
    this.abort.abort()
    this.wake?.()
    const left = this.underWay
    this.underWay = []
    for (const entry of left) this.outcome.dropped(entry, reason)
    for (let entry = this.queue.shift(); entry; entry = this.queue.shift())
      this.outcome.dropped(entry, reason)
  }

  private async loop(): Promise<void> {
    // Calls made in the same turn of the event loop travel together.
    await undefined
    while (!this.abandoned && this.queue.length > 0 && (this.full || this.queue.removed < this.due)) {
      this.underWay = this.queue.take(this.pace.most, REQUEST_BYTES)
      this.outcome.room()
      await this.deliver(this.underWay)
    }
  }

  private async deliver(batch: readonly Entry[], retry = 0, counted = 0): Promise<void> {
    if (batch.length > this.pace.most) return this.split(batch, this.pace.most, retry, counted)
    const events = batch.map((entry) => entry.json).join(',')
    for (; ; retry++) {
      const answer = await this.attempt(events, retry)
      if (this.abandoned) return
      const verdict = judge(answer, batch.length, this.clock.now())
      if (verdict.kind === 'too_large' && batch.length > 1)
        return this.split(batch, Math.ceil(batch.length / 2), 0, 0)
      if (verdict.kind !== 'retry') return this.settle(batch, verdict)
      if (verdict.counted && ++counted > this.options.maxRetries) {
        return this.done(batch, (entry) => this.outcome.dropped(entry, 'retries_exhausted'))
      }
      // Perhaps the network is too slow for so many within the timeout: the same again would never arrive.
      if (this.late) this.pace.tooMuch(batch.length)
      await this.sleep(Math.max(verdict.after, backoff(retry + 1, this.clock.random())))
      if (this.abandoned) return
      if (batch.length > this.pace.most) return this.split(batch, this.pace.most, retry + 1, counted)
    }
  }

  private async split(batch: readonly Entry[], at: number, retry: number, counted: number): Promise<void> {
    await this.deliver(batch.slice(0, at), retry, counted)
    if (!this.abandoned) await this.deliver(batch.slice(at), 0, counted)
  }

  private settle(batch: readonly Entry[], verdict: Exclude<Verdict, { kind: 'retry' }>): void {
    if (verdict.kind === 'delivered') {
      this.delivered(batch, verdict.rejected)
      return
    }
    const { code, message } =
      verdict.kind === 'poison'
        ? verdict
        : { code: 'event_too_large', message: 'the server takes no request of its size' }
    this.done(batch, (entry) => this.outcome.rejected(entry, code, message))
  }

  private delivered(batch: readonly Entry[], rejected: readonly Refusal[]): void {
    this.pace.through(batch.length)
    const refusals = new Map(rejected.map((refusal) => [refusal.index, refusal]))
    this.done(batch, (entry, index) => {
      const refusal = refusals.get(index)
      if (refusal) this.outcome.rejected(entry, refusal.code, refusal.message)
      else this.outcome.delivered(entry)
    })
  }

  /** The batch leaves what is under way before anybody hears of it. */
  private done(batch: readonly Entry[], tell: (entry: Entry, index: number) => void): void {
    this.underWay = this.underWay.slice(batch.length)
    batch.forEach(tell)
  }

  private async attempt(events: string, retry: number): Promise<Answer | undefined> {
    const { url, headers } = this.options
    const sentAt = new Date(this.clock.now()).toISOString()
    const request: HttpRequest = {
      url,
      method: 'POST',
      headers: retry === 0 ? headers : { ...headers, 'X-Retry-Count': String(retry) },
      body: `{"batch":[${events}],"sentAt":"${sentAt}","writeKey":${this.key}}`,
    }
    this.outcome.request(request)
    this.late = false
    try {
      const answer = await this.transport(request, this.abort.signal)
      this.trouble = answer.status < 300 ? undefined : `HTTP ${answer.status}`
      this.outcome.response(request, answer)
      return answer
    } catch (error) {
      // Whatever went wrong on the way, there is no answer, and it is asked for again. fetch hides why in the cause.
      this.trouble = text((error as { cause?: unknown } | null)?.cause ?? error)
      this.late = error instanceof TimedOut
      return undefined
    }
  }

  private sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.clock.timer(ms, resolve, false)
      this.wake = () => {
        cancel()
        resolve()
      }
    })
  }
}
