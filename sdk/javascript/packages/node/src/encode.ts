// Messages to JSON text. Plain data takes JSON.stringify as it is; anything else is first turned into plain data:
//
//   Date               ISO 8601 in UTC; an invalid one null
//   NaN, Infinity      null
//   bigint             a number where it is exact, else its decimal digits as a string
//   Map                an object; keys as text
//   Set                an array
//   Uint8Array, Buffer, ArrayBuffer   base64
//   other typed arrays an array of numbers
//   Error              { name, message, code?, cause? }; never the stack
//   URL, and all that has toJSON      what toJSON returns
//   URLSearchParams, RegExp           their text
//   class instances    their own enumerable fields
//   undefined          left out (null within an array)
//   lone surrogates    U+FFFD
//
// Left out, and named in the report: functions, symbols, promises, weak collections, cycles, what throws when it is read
// and what lies more than 100 levels deep.

export interface Problem {
  readonly path: string
  readonly problem: string
}

export interface Encoded {
  readonly json: string
  readonly problems: readonly Problem[]
}

export const MAX_DEPTH = 100
/** An event of 32 KiB cannot hold more values than it has bytes; a larger one need not be walked to its end. */
export const MAX_VALUES = 32_768

/** The message has more values than any that may be sent. */
export class TooManyValues extends Error {}

const NONE: readonly Problem[] = []
const SURROGATES = /\p{Surrogate}/gu

/** A message to JSON; `copy` is what `plainCopy` made of it. Throws TooManyValues. */
export function encode(message: object, copy: object | undefined): Encoded {
  if (copy !== undefined) {
    const json = JSON.stringify(copy)
    // An escape that begins so stands for half a character, which JSON readers refuse, or for a text that only looks like it.
    if (!json.includes('\\ud')) return { json, problems: NONE }
  }
  values = 0
  const walk: Walk = { problems: [], above: [] }
  return { json: JSON.stringify(clean(copy ?? message, '', walk)), problems: walk.problems }
}

/** Thrown, always the same one, at what JSON.stringify alone does wrong. */
const ODD = new Error('not plain data')
let room = 0

/** A copy that no later change reaches, of a message of plain data; undefined where it has other values, or too many. */
export function plainCopy(message: object): object | undefined {
  room = MAX_VALUES
  try {
    return copiedFields({ ...message }, 0)
  } catch {
    // Also a getter or a toJSON that threw: the walk below finds out which one.
    return undefined
  }
}

function copied(value: object, depth: number): unknown {
  // Objects count too: shared ones multiply.
  if (--room < 0) throw ODD
  if (value instanceof Date) return unchanging(value.toJSON())
  if (depth > MAX_DEPTH || typeof (value as { toJSON?: unknown }).toJSON === 'function') throw ODD
  if (Array.isArray(value)) return copiedItems(value, depth)
  const prototype = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) throw ODD
  return copiedFields({ ...value }, depth)
}

/** Puts copies in the place of the objects that `fields` has. */
function copiedFields(fields: Record<string, unknown>, depth: number): object {
  for (const key in fields) {
    const item = fields[key]
    if (typeof item !== 'object' || item === null) unchanging(item)
    // What somebody added to Object.prototype would become a field.
    else if (!Object.hasOwn(fields, key)) throw ODD
    else fields[key] = copied(item, depth + 1)
  }
  return fields
}

function copiedItems(list: readonly unknown[], depth: number): unknown[] {
  const copy: unknown[] = []
  for (let i = 0; i < list.length; i++) {
    const item = list[i]
    copy.push(typeof item === 'object' && item !== null ? copied(item, depth + 1) : unchanging(item))
  }
  return copy
}

/** A value that needs no copy. JSON takes a byte or more for each, and for each character of a text. */
function unchanging(value: unknown): unknown {
  switch (typeof value) {
    case 'string':
      room -= value.length
      break
    case 'number':
    case 'boolean':
    case 'undefined':
      break
    default:
      if (value !== null) throw ODD
  }
  if (--room < 0) throw ODD
  return value
}

let values = 0

function count(): void {
  if (++values > MAX_VALUES) throw new TooManyValues()
}

interface Walk {
  readonly problems: Problem[]
  /** The objects around the value: one that is met again within itself is a cycle. */
  readonly above: object[]
}

function clean(value: unknown, path: string, walk: Walk): unknown {
  count()
  switch (typeof value) {
    case 'string':
      return value.replace(SURROGATES, '\ufffd')
    case 'bigint':
      return Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
    case 'function':
    case 'symbol':
      return omit(`a ${typeof value} cannot be sent`, path, walk)
    case 'object':
      return value === null ? null : guarded(value, path, walk)
    default:
      return value
  }
}

function guarded(value: object, path: string, walk: Walk): unknown {
  if (walk.above.includes(value)) return omit('it contains itself', path, walk)
  if (walk.above.length > MAX_DEPTH)
    return omit(`it is nested more than ${MAX_DEPTH} levels deep`, path, walk)
  walk.above.push(value)
  try {
    return cleanObject(value, path, walk)
  } catch (error) {
    if (error instanceof TooManyValues) throw error
    return omit(`reading it failed: ${text(error)}`, path, walk)
  } finally {
    walk.above.pop()
  }
}

function cleanObject(value: object, path: string, walk: Walk): unknown {
  if (value instanceof Map) return record(value, path, walk)
  if (value instanceof Set) return list(value, path, walk)
  if (value instanceof ArrayBuffer) return base64(new Uint8Array(value))
  if (ArrayBuffer.isView(value)) return bytesOrNumbers(value, path, walk)
  if (typeof (value as { toJSON?: unknown }).toJSON === 'function') {
    const json = (value as { toJSON(): unknown }).toJSON()
    return json === value ? record(Object.entries(value), path, walk) : clean(json, path, walk)
  }
  if (Array.isArray(value)) return list(value, path, walk)
  if (value instanceof Error) return record(errorFields(value), path, walk)
  if (value instanceof RegExp || value instanceof URLSearchParams) return String(value)
  if (value instanceof String || value instanceof Number || value instanceof Boolean)
    return clean(value.valueOf(), path, walk)
  if (value instanceof Promise) return omit('it is a promise: await it first', path, walk)
  if (value instanceof WeakMap || value instanceof WeakSet || value instanceof WeakRef) {
    return omit('a weak collection cannot be read', path, walk)
  }
  return record(fields(value, path, walk), path, walk)
}

/** The own fields, one by one, so that one which throws does not take its neighbours along. */
function* fields(value: object, path: string, walk: Walk): Generator<[string, unknown]> {
  for (const key of Object.keys(value)) {
    try {
      yield [key, (value as Record<string, unknown>)[key]]
    } catch (error) {
      if (error instanceof TooManyValues) throw error
      omit(`reading it failed: ${text(error)}`, join(path, key), walk)
    }
  }
}

function record(entries: Iterable<readonly [unknown, unknown]>, path: string, walk: Walk): object {
  // Without a prototype, so that a key named __proto__ is a key.
  const out: Record<string, unknown> = Object.create(null)
  for (const [key, item] of entries) {
    const name = String(key).replace(SURROGATES, '\ufffd')
    const cleaned = clean(item, join(path, name), walk)
    if (cleaned !== undefined) out[name] = cleaned
  }
  return out
}

function list(items: Iterable<unknown>, path: string, walk: Walk): unknown[] {
  return Array.from(items, (item, index) => clean(item, `${path}[${index}]`, walk))
}

function bytesOrNumbers(view: ArrayBufferView, path: string, walk: Walk): unknown {
  const bytes = view instanceof Uint8Array || view instanceof Uint8ClampedArray || view instanceof DataView
  if (bytes) return base64(new Uint8Array(view.buffer, view.byteOffset, view.byteLength))
  return list(view as unknown as Iterable<unknown>, path, walk)
}

/** Base64 without Buffer, which edge runtimes lack. */
export function base64(bytes: Uint8Array): string {
  let binary = ''
  for (let i = 0; i < bytes.length; i += 8192) binary += String.fromCharCode(...bytes.subarray(i, i + 8192))
  return btoa(binary)
}

function errorFields(error: Error): [string, unknown][] {
  const { name, message, cause } = error
  return Object.entries({ name, message, code: (error as { code?: unknown }).code, cause })
}

function omit(problem: string, path: string, walk: Walk): undefined {
  walk.problems.push({ path, problem })
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`
}

/** An error's text, whatever was thrown. */
export function text(error: unknown): string {
  try {
    return error instanceof Error ? error.message : String(error)
  } catch {
    return 'an unprintable value was thrown'
  }
}

/** Bytes of a text in UTF-8. */
export const byteLength: (text: string) => number =
  typeof Buffer === 'function' ? Buffer.byteLength : (text) => new TextEncoder().encode(text).length
