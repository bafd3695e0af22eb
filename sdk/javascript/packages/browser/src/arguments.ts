// analytics.js's overloads: every argument is optional, null stands for "not given", a callback ends the list. Pure.
import type { Callback, CallOptions, Json } from './types.js'

export const isObject = (value: unknown): value is Json => !!value && typeof value === 'object'

/** Ids and names are strings; numbers become some, anything else counts as absent. */
export const text = (value: unknown): string | undefined =>
  typeof value === 'number' || (value && typeof value === 'string') ? `${value}` : undefined

/** A call's arguments: up to `most` names or ids, then properties (or traits), options, callback. */
export interface Call {
  heads: unknown[]
  given: Json
  extras: CallOptions
  heard?: Callback | undefined
}

export function parse(args: unknown[], most: number): Call {
  const end = args.findIndex((arg) => typeof arg === 'function')
  const rest = end < 0 ? args : args.slice(0, end)
  const first = rest.findIndex(isObject)
  const n = first < 0 || first > most ? most : first
  return {
    heads: rest.slice(0, n),
    given: (rest[n] || {}) as Json,
    extras: (rest[n + 1] || {}) as CallOptions,
    heard: args[end] as Callback | undefined,
  }
}
