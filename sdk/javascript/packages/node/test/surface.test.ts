// What an app sees: Segment's surface, and errors that never reach it unless it asks.
import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import DefaultExport, { Analytics, version } from '../src/index.js'
import { offline } from './support/offline.js'

test('the class is the default export as well, and tells its version', () => {
  assert.equal(DefaultExport, Analytics)
  assert.equal(offline().analytics.VERSION, version)
})

test('methods work when they are taken off the object', async () => {
  const { analytics, time, messages } = offline()
  const { track, identify, flush } = analytics
  track({ userId: 'u1', event: 'A' })
  identify({ userId: 'u1' })
  await time.until(flush())
  assert.deepEqual(
    messages().map(({ type }) => type),
    ['track', 'identify'],
  )
})

test("a call's callback hears of its own event only", async () => {
  const { analytics, time } = offline({}, () => ({
    status: 200,
    body: '{"rejected":[{"index":1,"code":"no"}]}',
    retryAfter: undefined,
  }))
  analytics.on('error', () => {})
  const heard: unknown[] = []
  analytics.track({ userId: 'u1', event: 'A' }, (error, ctx) => heard.push([error, ctx?.event.messageId]))
  analytics.track({ userId: 'u1', event: 'B' }, (error) => heard.push((error as Error).message))
  await time.until(analytics.flush())
  assert.deepEqual(heard, [[undefined, 'm1'], 'track m2 is not delivered: no'])
})

test('a missing write key or host is an error at once, which says what to do', () => {
  assert.throws(() => new Analytics({ writeKey: '', host: 'https://c.example' }), /writeKey is missing/)
  assert.throws(
    () => new Analytics({ writeKey: 'wk' } as never),
    /host is undefined: give the collector's address/,
  )
  assert.throws(() => new Analytics({ writeKey: 'wk', host: 'collect.example.com' }), /such as https:\/\//)
  assert.throws(
    () => new Analytics({ writeKey: 'wk', host: 'https://c.example', flushAt: 0 }),
    /flushAt is 0/,
  )
  assert.throws(() => offline({ overflow: 'spill' as never }), /overflow is "spill": use one of drop_oldest/)
})

const BAD_CALLS: [name: string, call: (analytics: Analytics) => unknown, code: string][] = [
  ['no arguments', (a) => a.track(undefined as never), 'event_not_defined'],
  [
    "positional arguments, as in Segment's browser SDK",
    (a) => a.track('Signed Up' as never),
    'event_not_defined',
  ],
  ['no id', (a) => a.page({}), 'no_user_anon_id'],
  ['an id that is an object', (a) => a.track({ userId: {} as never, event: 'A' }), 'id_not_string'],
  ['an id that is too long', (a) => a.track({ userId: 'x'.repeat(501), event: 'A' }), 'id_too_long'],
  ['an event that is a number', (a) => a.track({ userId: 'u', event: 7 as never }), 'event_not_string'],
  [
    'properties that are a list',
    (a) => a.track({ userId: 'u', event: 'A', properties: [] as never }),
    'properties_not_object',
  ],
  ['traits that are a string', (a) => a.identify({ userId: 'u', traits: 'x' as never }), 'traits_not_object'],
  ['a timestamp that is none', (a) => a.track({ userId: 'u', event: 'A', timestamp: 'soon' }), 'bad_request'],
  [
    'a message id that is a number',
    (a) => a.track({ userId: 'u', event: 'A', messageId: 1 as never }),
    'id_not_string',
  ],
  [
    'arguments that throw when read',
    (a) =>
      a.track({
        userId: 'u',
        get event(): string {
          throw new Error('x')
        },
      }),
    'bad_request',
  ],
  [
    'more than 32 KiB',
    (a) => a.track({ userId: 'u', event: 'A', properties: { x: 'y'.repeat(33_000) } }),
    'event_too_large',
  ],
]

for (const [name, call, code] of BAD_CALLS) {
  test(`${name}: reported as ${code}, thrown only when strict`, async () => {
    const { analytics, time, requests } = offline()
    const errors: string[] = []
    analytics.on('error', (error) => errors.push(error.code))
    call(analytics)
    const report = await time.until(analytics.flush())
    assert.deepEqual(
      report.rejected.map((rejection) => rejection.code),
      [code],
    )
    assert.deepEqual([errors, requests.length], [[code], 0])
    assert.throws(() => call(offline({ strict: true }).analytics.on('error', () => {})))
  })
}

test('a value that cannot be sent is named in the report and to listeners, and the event goes', async () => {
  const { analytics, time, messages } = offline()
  const heard: string[] = []
  analytics.on('warning', ({ path }) => heard.push(path))
  analytics.track({ userId: 'u1', event: 'A', properties: { done() {}, n: 1n } })
  const report = await time.until(analytics.flush())
  assert.deepEqual(report.warnings, [
    { messageId: 'm1', type: 'track', path: 'properties.done', problem: 'a function cannot be sent' },
  ])
  assert.deepEqual([heard, messages()[0]?.properties], [['properties.done'], { n: 1 }])
})

test('with nobody listening, the console hears of losses once a minute', async (t) => {
  const warn = mock.method(console, 'warn', () => {})
  t.after(() => warn.mock.restore())
  const { analytics, time } = offline()
  const bad = () => analytics.track({ event: 'A' })
  bad()
  bad()
  time.time += 61_000
  bad()
  assert.equal(warn.mock.callCount(), 2)
  assert.match(String(warn.mock.calls[0]?.arguments[0]), /track m1 is not delivered: .*\[no_user_anon_id\]/)
  assert.match(String(warn.mock.calls[1]?.arguments[0]), /and 1 before it/)
})

test('a listener or callback that throws harms neither the app nor the delivery', async (t) => {
  const warn = mock.method(console, 'warn', () => {})
  t.after(() => warn.mock.restore())
  const { analytics, time } = offline()
  const fails = () => {
    throw new Error('mine')
  }
  analytics.on('http_request', fails).on('track', fails)
  analytics.on('http_response', async () => fails())
  analytics.track({ userId: 'u1', event: 'A' }, fails)
  assert.equal((await time.until(analytics.flush())).delivered, 1)
  assert.equal(warn.mock.callCount(), 4)
})

for (const overflow of ['drop_oldest', 'drop_newest'] as const) {
  test(`with ${overflow} a listener that calls at each error ends, and each event is counted`, async () => {
    const { analytics, time, messages } = offline({ maxQueueEvents: 2, overflow })
    let calls = 0
    analytics.on('error', () => {
      if (++calls < 1000) analytics.track({ userId: 'u1', event: 'lost' })
    })
    for (let n = 0; n < 4; n++) analytics.track({ userId: 'u1', event: `${n}` })
    const report = await time.until(analytics.flush())
    assert.deepEqual([calls, report.delivered, report.droppedCount], [2, 2, 4])
    assert.equal(messages().length, 2)
    for (let n = 0; n < 3; n++) analytics.track({ userId: 'u1', event: `${n}` })
    await time.until(analytics.flush())
    assert.equal(calls, 3) // the next loss is told again
  })
}

test('disabled, calls do nothing and callbacks are called', async () => {
  const { analytics, time, requests } = offline({ disable: true })
  let called = 0
  analytics.track({ event: 'A' }, () => called++)
  const report = await time.until(analytics.flush())
  assert.deepEqual([called, requests.length, report.rejectedCount], [1, 0, 0])
})

test('events called while a request is under way wait for company, not for the request', async () => {
  const { analytics, requests } = offline({ flushAt: 10 }, (_, count) => {
    if (count === 1) analytics.track({ userId: 'u1', event: 'B' })
    return { status: 200, body: '', retryAfter: undefined }
  })
  for (let i = 0; i < 10; i++) analytics.track({ userId: 'u1', event: 'A' })
  for (let turn = 0; turn < 5; turn++) await setImmediate()
  assert.equal(requests.length, 1)
})

test('details of a report are bounded, its counts are exact', async () => {
  const { analytics, time } = offline()
  analytics.on('error', () => {})
  for (let i = 0; i < 1500; i++) analytics.track({ event: 'A' })
  const report = await time.until(analytics.flush())
  assert.deepEqual([report.rejected.length, report.rejectedCount], [1000, 1500])
  assert.equal((await time.until(analytics.flush())).rejectedCount, 0, 'each is reported once')
})

test('calls that nobody awaits while the queue is full are bounded too', async () => {
  const { analytics, time } = offline({ overflow: 'block', maxQueueEvents: 5 })
  analytics.on('error', () => {})
  for (let i = 0; i < 20; i++) analytics.track({ userId: 'u1', event: 'A' })
  const report = await time.until(analytics.flush())
  assert.deepEqual([report.delivered, report.droppedCount], [10, 10])
})

test('the ten business events carry their account and names as the specification writes them', async () => {
  const { analytics, time, messages } = offline()
  const { b2b } = analytics
  const who = { userId: 'u1', accountId: 7 }
  b2b.accountCreated({ ...who, accountName: 'Acme' })
  b2b.accountDeleted(who)
  b2b.signedUp({ ...who, type: 'invited', firstName: 'Ada' })
  b2b.signedIn({ ...who, username: 'ada' })
  b2b.signedOut(who)
  b2b.inviteSent({ ...who, inviteeEmail: 'b@example.com', inviteeRole: 'admin' })
  b2b.accountAddedUser({ ...who, role: 'owner', properties: { seat: 2 } })
  b2b.accountRemovedUser(who)
  b2b.trialStarted({ ...who, trialStartDate: new Date(0), trialPlanName: 'pro' })
  b2b.trialEnded(who)
  await time.until(analytics.flush())
  const sent = messages()
  assert.deepEqual(
    sent.map(({ event }) => event),
    [
      'Account Created',
      'Account Deleted',
      'Signed Up',
      'Signed In',
      'Signed Out',
      'Invite Sent',
      'Account Added User',
      'Account Removed User',
      'Trial Started',
      'Trial Ended',
    ],
  )
  assert.ok(sent.every(({ context }) => context.groupId === '7'))
  assert.deepEqual(sent[2]?.properties, { type: 'invited', first_name: 'Ada' })
  assert.deepEqual(sent[5]?.properties, { invitee_email: 'b@example.com', invitee_role: 'admin' })
  assert.deepEqual(sent[6]?.properties, { seat: 2, role: 'owner' })
  assert.deepEqual(sent[8]?.properties, {
    trial_start_date: '1970-01-01T00:00:00.000Z',
    trial_plan_name: 'pro',
  })
})
