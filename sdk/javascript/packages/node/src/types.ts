// What an app passes in and gets back: Segment's names, so that moving is an import and a host.

/** A point in time: a Date, epoch milliseconds or a text that Date understands. */
export type Timestamp = Date | string | number
/** Numbers and bigints become strings. */
export type Id = string | number | bigint
export type Values = { readonly [name: string]: unknown }
/** `{ All: false, Slack: true, S3: { prefix: 'x' } }`: which destinations get the event. */
export type Integrations = Values

interface Common {
  readonly context?: Values | null | undefined
  readonly timestamp?: Timestamp | null | undefined
  readonly integrations?: Integrations | null | undefined
  /** A key of your own that makes repeated calls one event; a time-ordered UUID otherwise. */
  readonly messageId?: string | undefined
}

/** One of the two is needed, in the call or in the scope it is made in (`with`, `withContext`). */
export interface Identity {
  readonly userId?: Id | null | undefined
  readonly anonymousId?: Id | null | undefined
}

export interface TrackParams extends Common, Identity {
  readonly event: string
  readonly properties?: Values | null | undefined
}

export interface IdentifyParams extends Common, Identity {
  readonly traits?: Values | null | undefined
}

export interface PageParams extends Common, Identity {
  readonly name?: string | null | undefined
  readonly category?: string | null | undefined
  readonly properties?: Values | null | undefined
}

export interface GroupParams extends Common, Identity {
  readonly groupId: Id
  readonly traits?: Values | null | undefined
}

export interface AliasParams extends Common {
  readonly userId: Id
  readonly previousId: Id
}

export type Kind = 'track' | 'identify' | 'page' | 'screen' | 'group' | 'alias'

/** Any call's arguments, as the six methods hand them on. */
export interface Params extends Common, Identity {
  readonly event?: unknown
  readonly name?: unknown
  readonly category?: unknown
  readonly properties?: unknown
  readonly traits?: unknown
  readonly groupId?: unknown
  readonly previousId?: unknown
}

/** A message on its way to JSON; fields that are undefined are not sent. */
export interface Message {
  type: Kind
  messageId: string
  timestamp: string
  userId?: string | undefined
  anonymousId?: string | undefined
  event?: string | undefined
  name?: string | undefined
  category?: string | undefined
  properties?: Values | undefined
  traits?: Values | undefined
  groupId?: string | undefined
  previousId?: string | undefined
  context: Values
  integrations?: Integrations | undefined
}

/** What a scope adds to each call that does not say otherwise. */
export interface Scope extends Identity {
  /** The account (company, workspace) that the calls concern: `context.groupId`. */
  readonly account?: Id | null | undefined
  readonly ip?: string | undefined
  readonly userAgent?: string | undefined
  readonly locale?: string | undefined
  readonly context?: Values | undefined
}

export interface Rejection {
  readonly messageId: string
  readonly type: Kind
  /** The collector's code (`no_user_anon_id`, `event_too_large`, ...) or `http_STATUS`. */
  readonly code: string
  readonly message?: string | undefined
}

export interface Drop {
  readonly messageId: string
  readonly type: Kind
  readonly reason: 'queue_full' | 'retries_exhausted' | 'closed' | 'exit' | 'middleware'
}

/** A value that could not be sent as it is; the event itself was sent. */
export interface Warning {
  readonly messageId: string
  readonly type: Kind
  readonly path: string
  readonly problem: string
}

/** What became of the events since the last report. Lists hold at most 1,000 entries each, counts are exact. */
export interface FlushReport {
  /** Events that the server answered for with success. */
  readonly delivered: number
  readonly rejected: readonly Rejection[]
  readonly dropped: readonly Drop[]
  readonly warnings: readonly Warning[]
  readonly rejectedCount: number
  readonly droppedCount: number
  /** Events still waiting, under way included. */
  readonly queued: number
  /** Why the last attempt failed, while what is queued could not be delivered: `connect ECONNREFUSED ...`, `HTTP 503`. */
  readonly trouble?: string | undefined
}

/** What `on('error')` hears: one event that will not arrive, or an error of the app's own code that was caught. */
export interface AnalyticsError {
  readonly code: string
  readonly reason: Error
  readonly messageId?: string | undefined
  readonly type?: Kind | undefined
  readonly ctx?: EventContext | undefined
}

/** The event as it was sent. */
export interface EventContext {
  readonly event: Message
}

export type Callback = (error?: unknown, context?: EventContext) => void

/** `null` drops the event; a promise is waited for by `flush`. */
export type Middleware = (message: Message) => Message | null | Promise<Message | null>
