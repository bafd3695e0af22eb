// Consent: stamped, held, dropped; what GPC denies; and nothing written before the visitor has answered.
import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { consent, oneTrust, preferences } from '../../src/plugins/consent.js'
import { cookieless } from '../../src/plugins/cookieless.js'
import { gpc } from '../../src/plugins/gpc.js'
import type { Message } from '../../src/types.js'
import { fakeSdk, mapStorage, message } from './fakes.js'

const given = (found: Message | null | Promise<Message | null>): Message => found as Message
const stamp = (found: Message | null) => found?.context.consent

function visitor(globalPrivacyControl: boolean | undefined): void {
  Object.defineProperty(globalThis, 'navigator', { value: { globalPrivacyControl }, configurable: true })
}

const before = Object.getOwnPropertyDescriptor(globalThis, 'navigator')
afterEach(() => {
  if (before) Object.defineProperty(globalThis, 'navigator', before)
  Reflect.deleteProperty(globalThis, 'window')
})

test('what is known is stamped on every event', () => {
  const plugin = consent({ source: preferences({ analytics: true, advertising: false }) })
  plugin.setup?.(fakeSdk().sdk)
  const found = given(plugin.enrich!(message()))
  assert.deepEqual(stamp(found), { categoryPreferences: { analytics: true, advertising: false } })
})

test('an event waits for the answer and carries it', async () => {
  const choice = preferences()
  const plugin = consent({ source: choice })
  plugin.setup?.(fakeSdk().sdk)
  const first = plugin.enrich!(message())
  const second = plugin.enrich!(message())
  choice.set({ analytics: true })
  for (const found of [await first, await second]) {
    assert.deepEqual(stamp(found), { categoryPreferences: { analytics: true } })
  }
})

test('while events wait nothing is written, and what was noted is written with the consent', async () => {
  const real = mapStorage()
  real.set('ajs_user_id', 'u1')
  const { sdk } = fakeSdk(real)
  const choice = preferences()
  const plugin = consent({ source: choice, required: ['analytics'] })
  plugin.setup?.(sdk)
  sdk.storage.set('ajs_anonymous_id', 'a1')
  assert.equal(sdk.storage.get('ajs_user_id'), 'u1')
  assert.equal(sdk.storage.get('ajs_anonymous_id'), 'a1')
  assert.equal(sdk.storage.persistent, false)
  assert.equal(real.get('ajs_anonymous_id'), null)
  const waiting = plugin.enrich!(message())
  choice.set({ analytics: true })
  await waiting
  assert.equal(real.get('ajs_anonymous_id'), 'a1')
  assert.equal(sdk.storage, real)
})

test('without the required categories events are dropped and nothing is ever written', async () => {
  const real = mapStorage()
  const { sdk } = fakeSdk(real)
  const choice = preferences()
  const plugin = consent({ source: choice, required: ['analytics'] })
  plugin.setup?.(sdk)
  sdk.storage.set('ajs_anonymous_id', 'a1')
  const waiting = plugin.enrich!(message())
  choice.set({ analytics: false, advertising: true })
  assert.equal(await waiting, null)
  assert.equal(plugin.enrich!(message()), null)
  assert.deepEqual([...real.values], [])
})

test('unknown events can be dropped, or sent without a stamp', () => {
  const source = preferences()
  assert.equal(consent({ source, unknown: 'drop' }).enrich!(message()), null)
  assert.equal(stamp(given(consent({ source, unknown: 'send' }).enrich!(message()))), undefined)
})

test('a change of mind is an event, the first answer is none', () => {
  const { sdk, tracked } = fakeSdk()
  const choice = preferences()
  consent({ source: choice }).setup?.(sdk)
  choice.set({ analytics: true })
  choice.set({ analytics: true })
  assert.deepEqual(tracked, [])
  choice.set({ analytics: false })
  assert.deepEqual(tracked, [['Consent Preferences Updated', undefined]])
})

test("OneTrust's groups become categories once the banner is closed", () => {
  const page: Record<string, unknown> = { OnetrustActiveGroups: ',C0001,C0002,' }
  Object.defineProperty(globalThis, 'window', { value: page, configurable: true })
  const source = oneTrust({ C0002: 'analytics', C0004: 'advertising' })
  assert.equal(source.get(), null)
  page.OneTrust = { IsAlertBoxClosed: () => false }
  assert.equal(source.get(), null)
  page.OneTrust = { IsAlertBoxClosed: () => true }
  assert.deepEqual(source.get(), { analytics: true, advertising: false })
  page.OneTrust = undefined
  assert.deepEqual(oneTrust({ C0004: 'advertising' }, false).get(), { advertising: false })
})

test('Global Privacy Control denies its categories whatever the banner says, in either order', () => {
  visitor(true)
  const source = preferences({ analytics: true, advertising: true })
  const denied = { categoryPreferences: { analytics: true, advertising: false } }
  const plugins = [consent({ source }), gpc()]
  for (const order of [plugins, [...plugins].reverse()]) {
    const found = order.reduce(
      (event, plugin) => given(plugin.enrich!(event)),
      message({ clickIds: { gclid: 'x' }, attribution: {} }),
    )
    assert.deepEqual(stamp(found), denied)
    assert.equal(found.context.globalPrivacyControl, true)
    assert.equal('clickIds' in found.context || 'attribution' in found.context, false)
  }
})

test('Global Privacy Control may mean that nothing is sent', () => {
  visitor(true)
  assert.equal(gpc({ drop: true }).enrich!(message()), null)
})

test('without the signal nothing is changed', () => {
  for (const value of [undefined, false]) {
    visitor(value)
    assert.deepEqual(gpc({ drop: true }).enrich!(message({ clickIds: {} })), message({ clickIds: {} }))
  }
})

test('cookieless ids stay in memory and are new each day where asked', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: Date.parse('2026-01-02T23:59:59Z') })
  const real = mapStorage()
  const { sdk } = fakeSdk(real)
  const daily = cookieless({ rotate: 'day' })
  daily.setup?.(sdk)
  sdk.storage.set('ajs_anonymous_id', 'a1')
  assert.deepEqual([sdk.storage.get('ajs_anonymous_id'), sdk.storage.persistent], ['a1', false])
  assert.deepEqual([...real.values], [])
  const own = () => message({}, { anonymousId: 'a1' })
  assert.equal(given(daily.enrich!(own())).anonymousId, 'a1')
  t.mock.timers.setTime(Date.parse('2026-01-03T00:00:00Z'))
  assert.equal(given(cookieless().enrich!(own())).anonymousId, 'a1')
  assert.equal(given(daily.enrich!(own())).anonymousId, 'another')
})
