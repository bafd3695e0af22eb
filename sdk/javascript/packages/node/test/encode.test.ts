// What becomes of values that JSON does not have.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createContext, runInContext } from 'node:vm'
import { byteLength, encode as encoded, MAX_DEPTH, plainCopy, TooManyValues } from '../src/encode.js'

const encode = (message: object) => encoded(message, plainCopy(message))

const round = (value: unknown) => {
  const { json, problems } = encode({ v: value })
  return { value: JSON.parse(json).v, problems }
}

class Money {
  constructor(
    readonly amount: bigint,
    readonly currency: string,
  ) {}
}

const KNOWN: [name: string, given: unknown, sent: unknown][] = [
  ['a Date is ISO 8601 in UTC', new Date(0), '1970-01-01T00:00:00.000Z'],
  ['an invalid Date is null', new Date('soon'), null],
  ['NaN and Infinity are null', [Number.NaN, Number.POSITIVE_INFINITY, 1], [null, null, 1]],
  ['a bigint that a number holds is a number', 42n, 42],
  ['a larger bigint is its digits', 2n ** 60n, '1152921504606846976'],
  [
    'a Map is an object',
    new Map<unknown, unknown>([
      ['a', 1n],
      [2, new Set([3])],
    ]),
    { a: 1, 2: [3] },
  ],
  ['a Set is an array', new Set(['a', new Date(0)]), ['a', '1970-01-01T00:00:00.000Z']],
  ['a Buffer is base64', Buffer.from('héllo'), 'aMOpbGxv'],
  [
    'a part of a buffer is that part',
    new Uint8Array(Buffer.from('abcdef').buffer.slice(0)).subarray(0, 0),
    '',
  ],
  ['an ArrayBuffer is base64', new Uint8Array([1, 2, 255]).buffer, 'AQL/'],
  ['a numeric array is an array', new Float64Array([1.5, Number.NaN]), [1.5, null]],
  ['a BigInt64Array is an array', new BigInt64Array([1n]), [1]],
  ['a URL is its text', new URL('https://a.example/b?c'), 'https://a.example/b?c'],
  ['URLSearchParams are their text', new URLSearchParams({ a: '1' }), 'a=1'],
  ['a RegExp is its text', /a+/i, '/a+/i'],
  ['a boxed string is a string', new String('x'), 'x'],
  ['an instance is its own fields', new Money(5n, 'EUR'), { amount: 5, currency: 'EUR' }],
  ['toJSON is honoured, and what it returns encoded', { toJSON: () => ({ at: 1n }) }, { at: 1 }],
  ['undefined is left out of objects and null in arrays', { a: undefined, b: [undefined] }, { b: [null] }],
  ['half a character is replaced', 'a\ud800b', 'a\ufffdb'],
  ['half a character in a key is replaced', { '\udc00k': 1 }, { '\ufffdk': 1 }],
  ['text that looks like an escape stays', String.raw`\ud800`, String.raw`\ud800`],
  ['whole characters stay', '🛒\ud83d\ude00', '🛒😀'],
  ['an object without a prototype is an object', Object.assign(Object.create(null), { a: 1n }), { a: 1 }],
  [
    'an object of another realm is an object',
    runInContext('({ a: [1n], at: new Date(0) })', createContext()),
    { a: [1], at: '1970-01-01T00:00:00.000Z' },
  ],
]

for (const [name, given, sent] of KNOWN) {
  test(name, () => assert.deepEqual(round(given), { value: sent, problems: [] }))
}

test('an Error is its name, message, code and cause, never its stack', () => {
  const error = Object.assign(new RangeError('no', { cause: new Error('why') }), { code: 'E1' })
  assert.deepEqual(round(error).value, {
    name: 'RangeError',
    message: 'no',
    code: 'E1',
    cause: { name: 'Error', message: 'why' },
  })
})

test('what cannot be sent is left out and named, and its neighbours are sent', () => {
  const cycle: { self?: unknown; ok: number } = { ok: 1 }
  cycle.self = cycle
  const { value, problems } = round({
    call() {},
    mark: Symbol('x'),
    wait: Promise.resolve(1),
    weak: new WeakMap(),
    cycle,
    get broken() {
      throw new Error('no access')
    },
    list: [1, () => {}],
    failing: {
      toJSON: () => {
        throw new Error('bad')
      },
    },
    ok: true,
  })
  assert.deepEqual(value, { cycle: { ok: 1 }, list: [1, null], ok: true })
  assert.deepEqual(problems, [
    { path: 'v.call', problem: 'a function cannot be sent' },
    { path: 'v.mark', problem: 'a symbol cannot be sent' },
    { path: 'v.wait', problem: 'it is a promise: await it first' },
    { path: 'v.weak', problem: 'a weak collection cannot be read' },
    { path: 'v.cycle.self', problem: 'it contains itself' },
    { path: 'v.broken', problem: 'reading it failed: no access' },
    { path: 'v.list[1]', problem: 'a function cannot be sent' },
    { path: 'v.failing', problem: 'reading it failed: bad' },
  ])
})

test('the same object twice is no cycle', () => {
  const shared = { at: 1n }
  assert.deepEqual(round({ a: shared, b: shared }).value, { a: { at: 1 }, b: { at: 1 } })
})

test('nesting beyond the limit is cut off and named', () => {
  let deep: unknown = 'bottom'
  for (let i = 0; i < MAX_DEPTH + 50; i++) deep = { d: deep }
  const { problems } = round(deep)
  assert.equal(problems.length, 1)
  assert.match(problems[0]!.problem, /more than 100 levels/)
})

test('a value that explodes when it is written out is refused early', () => {
  let bomb: unknown = ['x']
  for (let i = 0; i < 60; i++) bomb = [bomb, bomb]
  assert.throws(() => encode({ bomb }), TooManyValues)
  assert.throws(() => encode({ bomb: [bomb, 1n] }), TooManyValues)
})

test('a key named __proto__ is a key', () => {
  const v = JSON.parse('{"__proto__": {"a": 1}}')
  assert.equal(encode({ v }).json, '{"v":{"__proto__":{"a":1}}}')
  assert.equal(encode({ v, also: 1n }).json, '{"v":{"__proto__":{"a":1}},"also":1}')
})

test('bytes are counted in UTF-8', () => {
  assert.equal(byteLength('aé🛒'), 7)
})

test('what is inherited is not copied along', () => {
  const polluted = Object.prototype as { extra?: unknown }
  polluted.extra = [1]
  try {
    assert.equal(encode({ v: { b: new Date(0) } }).json, '{"v":{"b":"1970-01-01T00:00:00.000Z"}}')
  } finally {
    delete polluted.extra
  }
})

test('a toJSON that is hidden, on a list, or on a Date is honoured', () => {
  const hidden = Object.defineProperty({ a: 1 }, 'toJSON', { value: () => 'hidden' })
  const list = Object.assign([1], { toJSON: () => 'list' })
  const date = Object.assign(new Date(0), { toJSON: () => ({ own: 1n }) })
  assert.equal(encode({ hidden, list, date }).json, '{"hidden":"hidden","list":"list","date":{"own":1}}')
})

test('a list with a hole too large to walk is refused early', () => {
  const list: number[] = []
  list[4e9] = 1
  assert.throws(() => encode({ list }), TooManyValues)
})
