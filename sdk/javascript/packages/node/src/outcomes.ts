// Tells everybody who wants to know what became of an event: the report, listeners, the call's own callback.
import { complain, type Emitter, guarded } from './emitter.js'
import type { Ledger } from './ledger.js'
import type { Entry } from './queue.js'
import type { AnalyticsError, Callback, Drop, EventContext, Kind, Message } from './types.js'

const COMPLAIN_EVERY = 60_000

const REASONS: Record<Drop['reason'], string> = {
  queue_full: 'the queue is full: the collector is slow or away, or maxQueueEvents is small',
  retries_exhausted: 'the collector failed at its batch maxRetries times',
  closed: 'the client was closed before it was delivered',
  exit: 'the process ended before it was delivered, after exitTimeout',
  middleware: 'a middleware failed at it',
}

/** An event as it was sent, read back only when somebody looks. */
class Sent implements EventContext {
  constructor(private readonly json: string) {}
  get event(): Message {
    return JSON.parse(this.json) as Message
  }
}

export interface Failure {
  readonly messageId: string
  readonly type: Kind
  readonly callback: Callback | undefined
  /** Absent where the event never became JSON. */
  readonly json?: string
}

export class Outcomes {
  private silent = 0
  private telling = false
  private complainedAt = Number.NEGATIVE_INFINITY

  constructor(
    private readonly ledger: Ledger,
    private readonly emitter: Emitter,
    private readonly now: () => number,
  ) {}

  delivered(entry: Entry): void {
    this.ledger.deliver()
    const { callback, json, type } = entry
    if (callback) guarded('the callback of a call', () => callback(undefined, new Sent(json)))
    if (this.emitter.has(type)) this.emitter.emit(type, new Sent(json))
  }

  rejected(failed: Failure, code: string, message: string | undefined): void {
    this.ledger.reject({ messageId: failed.messageId, type: failed.type, code, message })
    this.tell(failed, code, message || code)
  }

  dropped(failed: Failure, reason: Drop['reason']): void {
    this.ledger.drop({ messageId: failed.messageId, type: failed.type, reason })
    // A listener that calls at each error would hear of what that call costs, and call, and so on.
    this.tell(failed, reason, REASONS[reason], !this.telling)
  }

  /** The app's own middleware left the event out, as it may: in the report, but no error. */
  leftOut(failed: Failure): void {
    this.ledger.drop({ messageId: failed.messageId, type: failed.type, reason: 'middleware' })
    if (failed.callback) guarded('the callback of a call', failed.callback)
  }

  /** What calls lose now is counted and not told. */
  get hushed(): boolean {
    return this.telling
  }

  /** Admits what was called before the listener's own calls: such losses are told as ever. */
  apart<T>(admit: () => T): T {
    const outer = this.telling
    this.telling = false
    try {
      return admit()
    } finally {
      this.telling = outer
    }
  }

  private tell({ messageId, type, callback, json }: Failure, code: string, why: string, aloud = true): void {
    const reason = new Error(`${type} ${messageId} is not delivered: ${why}`)
    const ctx = json === undefined ? undefined : new Sent(json)
    if (callback) guarded('the callback of a call', () => callback(reason, ctx))
    if (!aloud) return
    if (!this.emitter.has('error')) {
      this.complain({ code, reason })
      return
    }
    const outer = this.telling
    this.telling = true
    this.emitter.emit('error', { code, reason, messageId, type, ctx })
    this.telling = outer
  }

  /** With nobody listening, the console hears of it, at most once a minute. */
  private complain({ code, reason }: AnalyticsError): void {
    this.silent++
    const now = this.now()
    if (now - this.complainedAt < COMPLAIN_EVERY) return
    this.complainedAt = now
    const others = this.silent > 1 ? ` (and ${this.silent - 1} before it)` : ''
    complain(`${reason.message} [${code}]${others}. Listen with analytics.on('error', ...) to hear of each.`)
    this.silent = 0
  }
}
