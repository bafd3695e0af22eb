// analytics.js's overloads: every argument is optional, null stands for "not given", a callback ends the list. Pure.
import type { Callback, CallOptions, Json } from './types.js'

const isObject = (value: unknown): value is Json => !!value && typeof value === 'object'
const isId = (value: unknown): value is string | number => ['string', 'number'].includes(typeof value)

export interface Call {
  fields: Json
  options: CallOptions
  callback: Callback | undefined
}

/** The callback, and what stands before it. */
function split(args: unknown[]): [unknown[], Callback | undefined] {
  const at = args.findIndex((arg) => typeof arg === 'function')
  return at < 0 ? [args, undefined] : [args.slice(0, at), args[at] as Callback]
}

const object = (value: unknown): Json => (isObject(value) ? value : {})

/** track(event, properties, options) or track({event, properties}, options). */
export function trackCall(args: unknown[]): Call {
  const [rest, callback] = split(args)
  const whole = rest[0]
  if (isObject(whole)) rest.splice(0, 1, whole.event, whole.properties)
  return {
    fields: { event: rest[0], properties: object(rest[1]) },
    options: object(rest[2]),
    callback,
  }
}

/** identify and group: (id, traits, options) or (traits, options). */
export function idCall(args: unknown[], key: string): Call {
  const [rest, callback] = split(args)
  const id = isObject(rest[0]) ? null : rest.shift()
  return {
    fields: { [key]: isId(id) ? `${id}` : null, traits: object(rest[0]) },
    options: object(rest[1]),
    callback,
  }
}

/** page and screen: (category, name, properties, options); a single string is the name. */
export function pageCall(args: unknown[]): Call {
  const [rest, callback] = split(args)
  const [a, b] = rest.filter((arg) => typeof arg === 'string')
  const found = rest.findIndex(isObject)
  const at = found < 0 || found > 2 ? 2 : found
  return {
    fields: {
      category: b === undefined ? undefined : a,
      name: b ?? a,
      properties: object(rest[at]),
    },
    options: object(rest[at + 1]),
    callback,
  }
}

/** alias(to, from, options). */
export function aliasCall(args: unknown[]): Call {
  const [rest, callback] = split(args)
  const [to, from] = rest.filter(isId)
  return {
    fields: { userId: to === undefined ? to : `${to}`, previousId: from === undefined ? from : `${from}` },
    options: object(rest.find(isObject)),
    callback,
  }
}
