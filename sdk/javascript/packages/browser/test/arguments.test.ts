// analytics.js's overloads, as its documentation lists them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parse } from '../src/arguments.js'

const done = () => {}
const P = { a: 1 }
const O = { context: { ip: '0.0.0.0' } }

const CASES: Array<
  [name: string, args: unknown[], most: number, heads: unknown[], given: object, extras: object]
> = [
  ['track(event)', ['e'], 1, ['e'], {}, {}],
  ['track(event, properties, options)', ['e', P, O], 1, ['e'], P, O],
  ['track(event, null, options)', ['e', null, O], 1, ['e'], {}, O],
  ['identify(traits)', [P], 1, [], P, {}],
  ['identify(traits, options)', [P, O], 1, [], P, O],
  ['identify(null, traits)', [null, P], 1, [null], P, {}],
  ['page()', [], 2, [], {}, {}],
  ['page(properties)', [P], 2, [], P, {}],
  ['page(name, properties)', ['n', P], 2, ['n'], P, {}],
  ['page(category, name, null, options)', ['c', 'n', null, O], 2, ['c', 'n'], {}, O],
  ['alias(to, from, options)', ['to', 'from', O], 2, ['to', 'from'], O, {}],
]

for (const [name, args, most, heads, given, extras] of CASES) {
  test(`${name}, with and without a callback`, () => {
    assert.deepEqual(parse(args, most), { heads, given, extras, heard: undefined })
    assert.deepEqual(parse([...args, done], most), { heads, given, extras, heard: done })
  })
}
