// In a page: once for each value, whatever StrictMode, re-renders and hydration do.
import assert from 'node:assert/strict'
import { afterEach, beforeEach, mock, test } from 'node:test'
import { act, type ReactNode, StrictMode } from 'react'
import type { Root } from 'react-dom/client'
import { renderToString } from 'react-dom/server'
import { preferences } from '../../browser/src/plugins/consent.js'
import { inert, shared } from '../src/client.js'
import {
  HeadwaterProvider,
  useConsent,
  useGroup,
  useIdentify,
  usePage,
  useTrack,
  useTrackOnce,
} from '../src/index.js'
import { noting, openWindow } from './fakes.js'

openWindow()
const { createRoot, hydrateRoot } = await import('react-dom/client')

let root: Root | undefined
let place: HTMLElement
let problems: unknown[][]

beforeEach(() => {
  place = document.body.appendChild(document.createElement('div'))
  problems = []
  mock.method(console, 'error', (...words: unknown[]) => problems.push(words))
})

afterEach(() => {
  act(() => root?.unmount())
  root = undefined
  mock.restoreAll()
})

/** Renders below a provider in StrictMode; the same root again re-renders. */
function show(client: typeof inert, node: ReactNode): void {
  root ??= createRoot(place)
  act(() =>
    root!.render(
      <StrictMode>
        <HeadwaterProvider analytics={client}>{node}</HeadwaterProvider>
      </StrictMode>,
    ),
  )
}

function View({ path, plan = 'free' }: { path: string | null; plan?: string }) {
  usePage({ name: 'View', key: path, properties: { path } })
  useIdentify('u1', { plan })
  return null
}

const cycle: Record<string, unknown> = {}
cycle.self = cycle
const seen = new Set<unknown>()

function Account({ id }: { id?: string | null }) {
  useIdentify(id)
  useGroup(id && `acc-${id}`, { seats: 2 })
  return null
}

function Named() {
  usePage()
  usePage({ category: 'Docs' })
  usePage({ category: 'Docs', name: 'Start', properties: { a: 1 } })
  useTrackOnce('Seen', { a: 1 })
  return null
}

function Odd() {
  useTrackOnce('Odd', cycle)
  return null
}

function Button() {
  const track = useTrack()
  seen.add(track)
  return (
    <button type="button" onClick={() => track('Clicked')}>
      x
    </button>
  )
}

function Choice() {
  usePage({ name: 'Home' })
  return <p>{useConsent()[0] ? 'answered' : 'asked'}</p>
}

function Banner() {
  const [allowed, allow] = useConsent()
  return (
    <button type="button" onClick={() => allow({ analytics: true })}>
      {JSON.stringify(allowed)}
    </button>
  )
}

function Alone() {
  usePage()
  useTrackOnce('Lonely')
  return <p>fine</p>
}

test('StrictMode and re-renders make no second event', () => {
  const { client, calls } = noting()
  for (let n = 0; n < 3; n += 1) show(client, <View path="/a" />)
  assert.deepEqual(calls, [
    ['page', 'View', { path: '/a' }],
    ['identify', 'u1', { plan: 'free' }],
  ])
  assert.deepEqual(problems, [])
})

test('another path is another page view, another trait another identify', () => {
  const { client, calls } = noting()
  show(client, <View path="/a" />)
  show(client, <View path="/b" />)
  show(client, <View path="/b" plan="team" />)
  assert.deepEqual(calls.slice(2), [
    ['page', 'View', { path: '/b' }],
    ['identify', 'u1', { plan: 'team' }],
  ])
})

test('a path that is not known yet is no page view', () => {
  const { client, calls } = noting()
  for (const path of [null, '/a']) show(client, <View path={path} />)
  assert.deepEqual(calls, [
    ['identify', 'u1', { plan: 'free' }],
    ['page', 'View', { path: '/a' }],
  ])
})

test('a component that comes back has been seen again', () => {
  const { client, calls } = noting()
  show(client, <View path="/a" />)
  show(client, null)
  show(client, <View path="/a" />)
  assert.equal(calls.filter(([name]) => name === 'page').length, 2)
})

test('who is not known yet is not identified', () => {
  const { client, calls } = noting()
  show(client, <Account />)
  show(client, <Account id={null} />)
  assert.deepEqual(calls, [])
  show(client, <Account id="u1" />)
  assert.deepEqual(calls, [
    ['identify', 'u1', undefined],
    ['group', 'acc-u1', { seats: 2 }],
  ])
})

test('a page view has the arguments that analytics.js reads', () => {
  const { client, calls } = noting()
  show(client, <Named />)
  assert.deepEqual(calls, [
    ['page', {}],
    ['page', 'Docs', '', {}],
    ['page', 'Docs', 'Start', { a: 1 }],
    ['track', 'Seen', { a: 1 }],
  ])
})

test('properties that JSON cannot say are one event and no error', () => {
  const { client, calls } = noting()
  show(client, <Odd />)
  show(client, <Odd />)
  assert.equal(calls.length, 1)
})

test('track is the same function at each render', () => {
  const { client, calls } = noting()
  show(client, <Button />)
  show(client, <Button />)
  act(() => place.querySelector('button')!.click())
  assert.deepEqual([seen.size, calls], [1, [['track', 'Clicked']]])
})

test('a page that a server rendered is hydrated without a mismatch and with one page view', () => {
  const { client, calls } = noting()
  const consent = preferences({ analytics: true })
  const app = (
    <StrictMode>
      <HeadwaterProvider analytics={client} consent={consent}>
        <Choice />
      </HeadwaterProvider>
    </StrictMode>
  )
  place.innerHTML = renderToString(app)
  assert.equal(place.textContent, 'asked')
  act(() => {
    root = hydrateRoot(place, app)
  })
  assert.equal(place.textContent, 'answered')
  assert.deepEqual([calls, problems], [[['page', 'Home', {}]], []])
})

test("a banner reads and sets the visitor's consent", () => {
  const consent = preferences()
  root = createRoot(place)
  act(() =>
    root!.render(
      <HeadwaterProvider analytics={inert} consent={consent}>
        <Banner />
      </HeadwaterProvider>,
    ),
  )
  assert.equal(place.textContent, 'null')
  act(() => place.querySelector('button')!.click())
  assert.equal(place.textContent, '{"analytics":true}')
  assert.deepEqual(consent.get(), { analytics: true })
})

test('one key is loaded once, however many providers render', () => {
  const made: string[] = []
  const make = (key: string) => {
    made.push(key)
    return noting().client
  }
  assert.equal(shared('wk_1', {}, make), shared('wk_1', {}, make))
  assert.notEqual(shared('wk_1', {}, make), shared('wk_2', {}, make))
  assert.deepEqual(made, ['wk_1', 'wk_2'])
})

test('without a provider the app goes on, and a developer is told once', () => {
  root = createRoot(place)
  act(() => root!.render(<Alone />))
  assert.equal(place.textContent, 'fine')
  assert.equal(problems.length, 1)
  assert.match(String(problems[0]), /HeadwaterProvider/)
})
