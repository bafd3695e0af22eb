// The public types.
import type { Plugin } from './plugin.js'

export type Json = Record<string, unknown>

export type EventType = 'track' | 'identify' | 'page' | 'screen' | 'group' | 'alias'

/** An event as it is sent. */
export interface Message {
  type: EventType
  messageId: string
  timestamp: string
  userId?: string
  anonymousId?: string
  event?: string
  name?: string
  category?: string
  properties?: Json
  traits?: Json
  groupId?: string
  previousId?: string
  context: Json
  integrations?: Json
}

/** The third argument of a call; a key that is not named here is put into `context`, as analytics.js does. */
export interface CallOptions {
  context?: Json
  integrations?: Json
  userId?: string
  anonymousId?: string
  timestamp?: string | number | Date
  messageId?: string
  [key: string]: unknown
}

/** What became of one event. */
export interface Outcome {
  /**
   * `delivered`: the server said 2xx. `rejected`: it refused this event for good. `dropped`: given up here, see `code`.
   * `handed_over`: another tab sends it (this page was in the back/forward cache).
   */
  status: 'delivered' | 'rejected' | 'dropped' | 'handed_over'
  messageId: string
  type: string
  /** Why: the server's code, `http_STATUS`, `event_too_large`, `queue_full`, `retries_exhausted`, `not_serialisable`, a plug-in's name. */
  code: string
  /** The same as `code`. */
  reason: string
  message: string
}

/** An outcome with its event, as the promise of a call gives it; `event` is null when the arguments made none. */
export interface Settled extends Outcome {
  event: Message | null
}

export interface Rejected {
  messageId: string
  type: string
  code: string
  message: string
}

export interface Dropped {
  messageId: string
  type: string
  reason: string
}

/** What was settled since the last report. Lists hold at most 1,000 entries each; the counts are exact. */
export interface FlushReport {
  delivered: number
  rejected: Rejected[]
  rejectedCount: number
  dropped: Dropped[]
  droppedCount: number
  /** Still waiting. */
  queued: number
}

export type Callback = (settled: Settled) => void

/** Where ids and traits live. Keys are analytics.js's: `ajs_anonymous_id`, `ajs_user_id`, `ajs_user_traits`, ... */
export interface Storage {
  /** A string for keys that end in `_id`, an object for the others; null when absent. */
  get(key: string): unknown
  /** null removes. */
  set(key: string, value: unknown): void
  /** False: nothing of the queue is written to localStorage either; what is unsent when the page goes is sent by keepalive or lost. */
  readonly persistent?: boolean
}

/** Cookies live a year, for all paths, `SameSite=Lax`. */
export interface CookieOptions {
  /** Default: the widest domain that takes a cookie, as analytics.js does. */
  domain?: string
  secure?: boolean
}

export interface Options {
  /** Where events go: `https://collect.example.com`. The IIFE build takes the origin of its own script by default. */
  host?: string
  /** Events in one request at most, and how many waiting ones cause one at once; 100. */
  flushAt?: number
  /** Milliseconds that an event waits for company; 500. */
  flushInterval?: number
  /** 10,000. */
  maxQueueEvents?: number
  /** 32 MiB in memory; localStorage gets 2 MB of it at most. */
  maxQueueBytes?: number
  /** What is given up when the queue is full; `drop_oldest`. */
  overflow?: 'drop_oldest' | 'drop_newest'
  /** Retries of an answer that speaks about the batch (500, 408, ...); 10. */
  maxRetries?: number
  /** Milliseconds until a silent request counts as failed; 10,000. */
  timeout?: number
  /** Put the stored group's id on every event as `context.groupId`; true. */
  stampGroup?: boolean
  /** Send a page event at once. */
  initialPageview?: boolean
  /** Flags for every event: `{All: false, Slack: true}`. */
  integrations?: Json
  cookie?: CookieOptions
  storage?: Storage
  plugins?: Plugin[]
  debug?: boolean
}

/** Options with their defaults. */
export type Settings = Options &
  Required<Pick<Options, 'flushAt' | 'maxQueueEvents' | 'maxQueueBytes' | 'maxRetries' | 'timeout'>>

export interface User {
  id(): string | null
  /** Sets it when given; null makes a new one. */
  anonymousId(id?: string | null): string
  traits(traits?: Json): Json
}

export interface Group {
  id(): string | null
  traits(traits?: Json): Json
  /** The same as traits. */
  properties(traits?: Json): Json
}

/** A middleware of analytics.js: not calling `next` drops the event, and so does `next(null)`. */
export type SourceMiddleware = (step: {
  payload: { obj: Message }
  integrations: Json
  next: (payload: { obj: Message } | null) => void
}) => void | Promise<void>

type Argument = string | number | object | null | undefined | Callback
// biome-ignore lint/suspicious/noExplicitAny: listeners take what their event gives
export type Listener = (...args: any[]) => void

/** The SDK: analytics.js's calls. All are functions without `this`; none throws. */
export interface Analytics {
  readonly writeKey: string
  readonly version: string
  /** Replaceable, by a plug-in's `setup`: see `Storage`. */
  storage: Storage
  track(
    event: string,
    properties?: Json | null,
    options?: CallOptions | null,
    callback?: Callback,
  ): Promise<Settled>
  track(event: string | { event: string; properties?: Json }, ...args: Argument[]): Promise<Settled>
  identify(
    userId?: string | number | null,
    traits?: Json | null,
    options?: CallOptions | null,
    callback?: Callback,
  ): Promise<Settled>
  identify(traits: Json, options?: CallOptions | Callback | null, callback?: Callback): Promise<Settled>
  page(...args: Argument[]): Promise<Settled>
  screen(...args: Argument[]): Promise<Settled>
  group(): Group
  group(
    groupId: string | number | Json | null,
    traits?: Json | null,
    options?: CallOptions | null,
    callback?: Callback,
  ): Promise<Settled>
  alias(to: string | number, ...args: Argument[]): Promise<Settled>
  /** Forgets user, group and anonymous id. Events that wait are still sent. */
  reset(): void
  ready(callback?: () => void): Promise<void>
  on(event: string, listener: Listener): Analytics
  once(event: string, listener: Listener): Analytics
  off(event: string, listener: Listener): Analytics
  emit(event: string, ...args: unknown[]): Analytics
  /** Prints each call and what became of it. */
  debug(on?: boolean): Analytics
  user(): User
  setAnonymousId(id?: string | null): string
  addSourceMiddleware(...middleware: SourceMiddleware[]): Analytics
  use(...plugins: Plugin[]): Analytics
  register(...plugins: Plugin[]): Promise<void>
  /** Sends what waits and says what became of events since the last report; `timeout` in milliseconds, 10,000. */
  flush(timeout?: number): Promise<FlushReport>
  /** Nothing is sent, and nothing of the queue written to storage, until the promise is settled. */
  hold(until: Promise<unknown>): void
}
