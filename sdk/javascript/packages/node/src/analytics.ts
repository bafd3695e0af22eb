// The client: calls in, requests and reports out.
import { ADMITTED, Admission } from './admission.js'
import { type Admitted, Calls, Scoped } from './calls.js'
import { type Clock, realClock } from './clock.js'
import { Delivery } from './delivery.js'
import { complain, Emitter, type Events, guarded } from './emitter.js'
import { base64, text } from './encode.js'
import { holds, holdsNothing, type Leaving } from './exit.js'
import { Intake } from './intake.js'
import { Ledger } from './ledger.js'
import { library, messageOf, nested, refusal } from './message.js'
import { middlewareOf, type Plugin, through } from './middleware.js'
import { type Failure, Outcomes } from './outcomes.js'
import { type Entry, Queue } from './queue.js'
import { loaded, NOTHING, scope, within } from './scope.js'
import { type AnalyticsSettings, checked, type Settings } from './settings.js'
import { LONGEST_TIMER, type Transport, transport } from './transport.js'
import type { Callback, FlushReport, Id, Kind, Message, Middleware, Params, Scope } from './types.js'
import { uuid7Generator } from './uuid7.js'
import { version } from './version.js'

const FLUSH_TIMEOUT = 10_000

/** Parts that tests replace. */
export interface Internals extends Clock {
  readonly ids: (now: number) => string
  readonly transport: Transport
  /** Takes an event in place of the queue, and that is its delivery. */
  readonly keep?: (json: string) => void
}

export interface FlushOptions {
  /** Milliseconds; `Infinity` waits until everything is settled. Default 10000. */
  readonly timeout?: number
  /** Takes no more calls; what is not delivered in time is dropped and reported. Default false. */
  readonly close?: boolean
}

export class Analytics extends Calls implements Leaving {
  /** Resolves when the client is complete; calls need not wait for it. */
  readonly ready: Promise<void> = loaded
  readonly VERSION = version
  private readonly settings: Settings
  private readonly parts: Internals
  private readonly emitter = new Emitter()
  private readonly ledger = new Ledger()
  private readonly queue = new Queue()
  private readonly outcomes: Outcomes
  private readonly admission: Admission
  private readonly delivery: Delivery
  private readonly middleware: { name: string; run: Middleware }[] = []
  /** Events on their way through a middleware that takes its time. */
  private readonly pending = new Set<Promise<void>>()
  private readonly intake: Intake
  private scope: Scope = NOTHING
  private closed = false
  /** Closed, and all that was left given up: what a slow middleware hands on now comes too late. */
  private gone = false
  private timer: (() => void) | undefined
  private stamped = { at: Number.NaN, iso: '' }

  constructor(settings: AnalyticsSettings, internals: Partial<Internals> = {}) {
    super((kind, params, callback, scoped) => this.call(kind, params, callback, scoped))
    this.settings = checked(settings)
    const { httpClient, httpRequestTimeout } = this.settings
    this.parts = {
      ...realClock(),
      ids: uuid7Generator(),
      transport: transport(httpClient, httpRequestTimeout),
      ...internals,
    }
    this.outcomes = new Outcomes(this.ledger, this.emitter, this.parts.now)
    this.admission = new Admission(
      this.queue,
      this.settings,
      (entry) => this.outcomes.dropped(entry, this.closed ? 'closed' : 'queue_full'),
      () => this.added(),
      () => this.parts.timer(LONGEST_TIMER, () => {}, true),
    )
    this.delivery = this.createDelivery()
    this.intake = this.createIntake()
    guarded("a listener of 'initialize'", () => this.emitter.emit('initialize', settings))
  }

  readonly on = <Name extends keyof Events>(name: Name, listener: (...args: Events[Name]) => void): this => {
    this.emitter.on(name, listener)
    return this
  }

  readonly once = <Name extends keyof Events>(
    name: Name,
    listener: (...args: Events[Name]) => void,
  ): this => {
    this.emitter.once(name, listener)
    return this
  }

  readonly off = <Name extends keyof Events>(name: Name, listener: (...args: Events[Name]) => void): this => {
    this.emitter.off(name, listener)
    return this
  }

  /** Adds a function that every message passes, in the order of adding. One that throws costs the event, not the app. */
  use(run: Middleware, name = run.name): this {
    this.middleware.push({ name, run })
    return this
  }

  /** Adds Segment's plug-ins of type `before` or `enrichment`. */
  async register(...plugins: Plugin[]): Promise<void> {
    for (const plugin of plugins) {
      const run = middlewareOf(plugin)
      if (run) this.use(run, plugin.name)
      else complain(`plug-in ${plugin.name} is of type ${plugin.type}: only before and enrichment run here`)
      guarded(`load of plug-in ${plugin.name}`, () => plugin.load?.(undefined, this))
    }
    this.emitter.emit(
      'register',
      plugins.map(({ name }) => name),
    )
  }

  async deregister(...names: string[]): Promise<void> {
    for (const name of names) {
      const index = this.middleware.findIndex((middleware) => middleware.name === name)
      if (index >= 0) this.middleware.splice(index, 1)
    }
    this.emitter.emit('deregister', names)
  }

  /** Puts this account on the calls that follow, unless they or their scope name another; `null` clears it. */
  setAccount(account: Id | null): void {
    this.scope = nested(this.scope, { account })
  }

  /** Calls that carry a user, an account or a context of their own. */
  with(inner: Scope): Scoped {
    return new Scoped(
      (kind, params, callback, scoped) => this.call(kind, params, callback, scoped),
      nested(NOTHING, inner),
    )
  }

  /** Runs `fn`; every call made by it, and by what it starts and awaits, carries this scope. */
  withContext<T>(inner: Scope, fn: () => T): T {
    return within(nested(scope(), inner), fn)
  }

  /** Sends what waits; resolves when all is settled or the time is up, with what became of it. Never rejects. */
  readonly flush = async ({
    timeout = FLUSH_TIMEOUT,
    close = false,
  }: FlushOptions = {}): Promise<FlushReport> => {
    this.intake.end()
    if (close) this.closed = true
    await this.settle(timeout)
    if (close) this.giveUp('closed')
    return this.ledger.report(this.waiting, this.delivery.trouble)
  }

  /** `flush`, and no more calls. */
  readonly closeAndFlush = ({ timeout }: { timeout?: number } = {}): Promise<FlushReport> =>
    this.flush({ close: true, ...(timeout === undefined ? {} : { timeout }) })

  /** @internal */
  async leave(): Promise<void> {
    if (this.settings.exitTimeout > 0) await this.settle(this.settings.exitTimeout)
    if (this.waiting > 0) this.giveUp('exit')
    holdsNothing(this)
  }

  private get waiting(): number {
    return this.delivery.waiting + this.admission.waiting + this.pending.size + this.intake.waiting
  }

  private createDelivery(): Delivery {
    const { settings, emitter } = this
    const auth = base64(new TextEncoder().encode(`${settings.writeKey}:`))
    return new Delivery(
      this.queue,
      {
        delivered: (entry) => this.outcomes.delivered(entry),
        rejected: (entry, code, message) => this.outcomes.rejected(entry, code, message),
        dropped: (entry, reason) => this.outcomes.dropped(entry, reason),
        room: () => this.admission.room(),
        idle: () => this.idle(),
        request: (request) => emitter.emit('http_request', request),
        response: (request, { status }) =>
          emitter.emit('http_response', { ...request, status, statusText: '' }),
      },
      this.parts.transport,
      this.parts,
      {
        ...settings,
        headers: {
          'Content-Type': 'application/json',
          Authorization: `Basic ${auth}`,
          'User-Agent': `${library.name}/${version}`,
        },
      },
    )
  }

  private createIntake(): Intake {
    const { overflow, strict } = this.settings
    return new Intake(overflow !== 'block' && !strict && this.parts.keep === undefined, {
      entry: (entry, waited) =>
        waited && this.outcomes.hushed ? this.outcomes.apart(() => this.admit(entry)) : this.admit(entry),
      warning: (warning) => {
        this.ledger.warn(warning)
        this.emitter.emit('warning', warning)
      },
      refused: (failed, error) => this.refuse(failed, error),
      // The script may end first, by a call in a beforeExit of the app's own.
      begins: () => holds(this),
      ends: () => {
        if (this.waiting === 0) holdsNothing(this)
      },
    })
  }

  private call(
    kind: Kind,
    given: Params,
    callback: Callback | undefined,
    scoped: Scope | undefined,
  ): Admitted {
    if (this.settings.disable) {
      if (callback) guarded('the callback of a call', callback)
      return ADMITTED
    }
    let messageId = ''
    try {
      const params = given ?? {}
      const now = this.parts.now()
      messageId = params.messageId ?? this.parts.ids(now)
      const message = messageOf(kind, params, this.scopeOf(scoped), { messageId, now: this.iso(now) })
      return this.take(message, callback)
    } catch (error) {
      this.refuse({ messageId: String(messageId), type: kind, callback }, error)
      if (this.settings.strict) throw error
      return ADMITTED
    }
  }

  private refuse(failed: Failure, error: unknown): void {
    // The calls before this one are reported first; those of a run that is being encoded are so already.
    if (!this.intake.working) this.intake.end()
    const { code, message } = refusal(error)
    this.outcomes.rejected(failed, code, message)
  }

  private take(message: Message, callback: Callback | undefined): Admitted {
    if (this.closed) {
      this.emitter.emit('call_after_close', message)
      this.outcomes.dropped({ ...message, callback }, 'closed')
      return ADMITTED
    }
    return this.middleware.length === 0 ? this.intake.put(message, callback) : this.changed(message, callback)
  }

  /** Lets the middleware have the message first. */
  private changed(message: Message, callback: Callback | undefined): Admitted {
    const failed = { messageId: message.messageId, type: message.type, callback }
    // A middleware that waits for something that is away would hold any number.
    if (this.pending.size >= this.settings.maxQueueEvents) {
      this.outcomes.dropped(failed, 'queue_full')
      return ADMITTED
    }
    const next = (result: Message | null) =>
      result === null ? this.outcomes.leftOut(failed) : this.intake.put(result, callback)
    const fails = (error: unknown) => {
      complain(`a middleware failed at ${failed.type} ${failed.messageId}, which is dropped: ${text(error)}`)
      this.outcomes.dropped(failed, 'middleware')
    }
    let result: Message | null | Promise<Message | null>
    try {
      result = through(
        this.middleware.map(({ run }) => run),
        message,
      )
    } catch (error) {
      fails(error)
      return ADMITTED
    }
    if (!(result instanceof Promise)) return next(result) ?? ADMITTED
    const later: Promise<void> = result
      .then(next, fails)
      .catch((error: unknown) => this.refuse(failed, error))
      .finally(() => this.pending.delete(later))
    this.pending.add(later)
    holds(this)
    return later
  }

  private admit(entry: Entry): Admitted {
    if (this.gone) {
      this.outcomes.dropped(entry, 'closed')
      return ADMITTED
    }
    if (this.parts.keep === undefined) return this.admission.admit(entry)
    this.parts.keep(entry.json)
    this.outcomes.delivered(entry)
    return ADMITTED
  }

  private added(): void {
    if (this.admission.waiting > 0) this.delivery.hurry()
    else if (this.delivery.full) this.delivery.run()
    else if (this.timer === undefined && this.delivery.idle) this.startTimer()
    if (this.queue.length === 1) holds(this)
  }

  private idle(): void {
    if (this.waiting === 0) {
      holdsNothing(this)
      this.emitter.emit('drained')
    } else if (this.queue.length > 0) {
      this.added()
    }
  }

  private startTimer(): void {
    this.timer = this.parts.timer(
      this.settings.flushInterval,
      () => {
        this.timer = undefined
        this.delivery.hurry()
      },
      false,
    )
  }

  /** Resolves when nothing waits any more or the time is up, and keeps the process alive until then. */
  private settle(timeout: number): Promise<void> {
    return new Promise((resolve) => {
      let over = false
      const end = () => {
        over = true
        cancel()
        resolve()
      }
      const cancel = this.parts.timer(Math.min(timeout, LONGEST_TIMER), end, true)
      void this.drain(() => over).then(end)
    })
  }

  private async drain(over: () => boolean): Promise<void> {
    while (this.waiting > 0 && !over()) {
      if (this.pending.size > 0) await Promise.all(this.pending)
      this.intake.end()
      this.delivery.hurry()
      await this.delivery.run()
    }
  }

  private giveUp(reason: 'closed' | 'exit'): void {
    this.intake.end()
    this.closed = this.gone = true
    this.timer?.()
    this.timer = undefined
    this.delivery.abandon(reason)
    this.admission.close()
    holdsNothing(this)
  }

  private scopeOf(scoped: Scope | undefined): Scope {
    const around = scope()
    const outer =
      around === NOTHING ? this.scope : this.scope === NOTHING ? around : nested(this.scope, around)
    return scoped === undefined ? outer : outer === NOTHING ? scoped : nested(outer, scoped)
  }

  /** Calls come in bursts: the text of a millisecond is made once. */
  private iso(now: number): string {
    if (now !== this.stamped.at) this.stamped = { at: now, iso: new Date(now).toISOString() }
    return this.stamped.iso
  }
}
