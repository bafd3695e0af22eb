// A call's arguments to a message, or the reason why it cannot be one. Pure; the codes are the collector's own.

import { TooManyValues, text } from './encode.js'
import type { Kind, Message, Params, Scope, Timestamp, Values } from './types.js'
import { version } from './version.js'

export const library = { name: 'headwater-node', version }

export interface Stamp {
  readonly messageId: string
  /** The time of the call, in ISO 8601. */
  readonly now: string
}

/** Why a call cannot be sent. */
export class Refused extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message)
    this.name = 'Refused'
  }
}

/** Whatever a call failed with, as the report has it. */
export function refusal(error: unknown): { code: string; message: string } {
  if (error instanceof Refused) return error
  if (error instanceof TooManyValues)
    return { code: 'event_too_large', message: 'the event has more values than fit into 32 KiB' }
  return { code: 'bad_request', message: `reading the arguments failed: ${text(error)}` }
}

const ID_CHARS = 500
const EVENT_CHARS = 1024
const MESSAGE_ID_CHARS = 100

/** The message of a call made within `scope`. Throws Refused. */
export function messageOf(kind: Kind, params: Params, scope: Scope, stamp: Stamp): Message {
  const message: Message = {
    type: kind,
    messageId: stamp.messageId,
    timestamp: params.timestamp == null ? stamp.now : iso(params.timestamp),
    userId: id('userId', params.userId ?? scope.userId),
    anonymousId: kind === 'alias' ? undefined : id('anonymousId', params.anonymousId ?? scope.anonymousId),
    event: undefined,
    name: undefined,
    category: undefined,
    properties: undefined,
    traits: undefined,
    groupId: undefined,
    previousId: undefined,
    context: contextOf(params.context, scope),
    integrations: integrationsOf(params.integrations),
  }
  FIELDS[kind](message, params)
  checkIds(message)
  return message
}

function checkIds({ type, messageId, userId, anonymousId, previousId }: Message): void {
  if (type === 'alias') {
    if (!userId || !previousId) throw new Refused('id_required', 'alias needs userId and previousId')
  } else if (!userId && !anonymousId) {
    throw new Refused('no_user_anon_id', `${type} needs a userId or an anonymousId`)
  }
  if (typeof messageId !== 'string') {
    throw new Refused('id_not_string', `messageId is ${shown(messageId)}: give a string`)
  }
  if (messageId.length > MESSAGE_ID_CHARS) {
    throw new Refused('message_id_too_long', `messageId has more than ${MESSAGE_ID_CHARS} characters`)
  }
}

const FIELDS: Record<Kind, (message: Message, params: Params) => void> = {
  track(message, { event, properties }) {
    if (event != null && typeof event !== 'string')
      throw new Refused('event_not_string', `event is ${shown(event)}: give a string`)
    if (!event) throw new Refused('event_not_defined', 'track needs a non-empty event')
    if (event.length > EVENT_CHARS)
      throw new Refused('event_too_long', `event has more than ${EVENT_CHARS} characters`)
    message.event = event
    message.properties = object('properties', properties)
  },
  identify(message, { traits }) {
    message.traits = object('traits', traits)
  },
  page: view,
  screen: view,
  group(message, { groupId, traits }) {
    message.groupId = id('groupId', groupId)
    if (!message.groupId) throw new Refused('id_required', 'group needs a groupId')
    message.traits = object('traits', traits)
  },
  alias(message, { previousId }) {
    message.previousId = id('previousId', previousId)
  },
}

function view(message: Message, { name, category, properties }: Params): void {
  message.name = label('name', name)
  message.category = label('category', category)
  message.properties = object('properties', properties)
}

function label(field: 'name' | 'category', value: unknown): string | undefined {
  if (value == null || typeof value === 'string') return value ?? undefined
  throw new Refused(`${field}_not_string`, `${field} is ${shown(value)}: give a string`)
}

function id(field: string, value: unknown): string | undefined {
  if (typeof value === 'string') {
    if (value.length > ID_CHARS)
      throw new Refused('id_too_long', `${field} has more than ${ID_CHARS} characters`)
    return value === '' ? undefined : value
  }
  if (value == null) return undefined
  if (typeof value === 'bigint' || (typeof value === 'number' && Number.isFinite(value))) return String(value)
  throw new Refused('id_not_string', `${field} is ${shown(value)}: give a string or a number`)
}

function object(field: 'properties' | 'traits', value: unknown): Values {
  if (value == null) return {}
  if (typeof value === 'object' && !Array.isArray(value)) return value as Values
  throw new Refused(`${field}_not_object`, `${field} is ${shown(value)}: give an object`)
}

function integrationsOf(value: unknown): Values | undefined {
  if (value == null) return undefined
  if (typeof value !== 'object')
    throw new Refused('bad_request', `integrations is ${shown(value)}: give an object`)
  for (const _ in value) return value as Values
  return undefined
}

/** The call's context over the scope's; the library is always this one. */
function contextOf(given: unknown, scope: Scope): Values {
  if (given != null && (typeof given !== 'object' || Array.isArray(given))) {
    throw new Refused('bad_request', `context is ${shown(given)}: give an object`)
  }
  return { ...scope.context, ...(given as Values | null | undefined), library }
}

function iso(value: Timestamp): string {
  const date = new Date(value)
  if (Number.isNaN(date.getTime())) {
    throw new Refused(
      'bad_request',
      `timestamp is ${shown(value)}: give a Date, epoch milliseconds or an ISO 8601 text`,
    )
  }
  return date.toISOString()
}

function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 40))
  return Array.isArray(value) ? 'an array' : typeof value === 'object' ? 'an object' : String(value)
}

/** `inner` over `outer`; what a scope says about the request becomes context once, not at each call. */
export function nested(outer: Scope, inner: Scope): Scope {
  const context: Record<string, unknown> = { ...outer.context, ...inner.context }
  const { account } = inner
  // Set rather than deleted: it clears that of a scope further out, and JSON leaves it out.
  if (account === null) context.groupId = undefined
  else if (account !== undefined) context.groupId = typeof account === 'string' ? account : String(account)
  for (const field of ['ip', 'userAgent', 'locale'] as const) {
    if (inner[field] !== undefined) context[field] = inner[field]
  }
  return {
    userId: inner.userId ?? outer.userId,
    anonymousId: inner.anonymousId ?? outer.anonymousId,
    context,
  }
}
