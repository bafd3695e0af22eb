// The SDK: analytics.js's calls over identity, pipeline, queue and delivery.
import { type Call, isObject, parse, text } from './arguments.js'
import { campaign, deviceContext, pageContext } from './context.js'
import { createDelivery } from './delivery.js'
import { emitter, guarded } from './emitter.js'
import { identity } from './identity.js'
import { ledger } from './ledger.js'
import { lifecycle } from './lifecycle.js'
import type { Offline } from './offline.js'
import { createPipeline, middleware } from './pipeline.js'
import type { Platform } from './platform.js'
import type { Plugin } from './plugin.js'
import { createQueue } from './queue.js'
import { attempt, browserStorage } from './storage.js'
import type {
  Analytics,
  EventType,
  Json,
  Message,
  Options,
  Outcome,
  Settled,
  SourceMiddleware,
} from './types.js'
import { version } from './version.js'

const DEFAULTS = {
  flushAt: 100,
  flushInterval: 500,
  maxQueueEvents: 10_000,
  maxQueueBytes: 33_554_432,
  maxRetries: 10,
  timeout: 10_000,
  stampGroup: true,
}

/** The SDK on a platform. `load` gives it the page it runs in; without `offline` the queue is in memory only. */
export function createAnalytics(
  platform: Platform,
  writeKey: string,
  options: Options,
  offline?: Offline,
): Analytics {
  const { window: win, now, id, uuid } = platform
  const settings: typeof DEFAULTS & Options & Json = { ...DEFAULTS, ...options }
  // What is no number, a bound above all, counts as absent: with it nothing might ever be sent.
  for (const key in DEFAULTS) {
    if (!((settings[key] as number) >= 0)) settings[key] = (DEFAULTS as Json)[key]
  }
  const { on, off, emit } = emitter()
  const device = deviceContext(win)
  let { debug } = settings

  const log = (...what: unknown[]) => {
    if (debug) win.console.log('headwater', ...what)
  }
  const books = ledger((outcome) => {
    log(outcome.status, outcome)
    if (outcome.code) emit('error', [outcome])
  })
  const failed = (code: string, error: unknown) => emit('error', [{ code, message: `${error}`, error }])

  const pipeline = createPipeline(failed)
  const queue = createQueue(settings, books)
  const delivery = createDelivery(platform, writeKey, settings, queue, books, pipeline.making)

  /** The message of a call, as of now. */
  function build(type: EventType, fields: Json, call: Call): Message {
    const { context, integrations, anonymousId, userId, timestamp, messageId, ...rest } = call.extras
    const page = pageContext(win)
    const { category, name } = fields
    if (type === 'page') fields.properties = { ...page, category, name, ...call.given }
    const flags = { ...settings.integrations, ...integrations }
    return {
      type,
      messageId: messageId || id(),
      timestamp: new Date(+new Date(timestamp as number) || now()).toISOString(),
      anonymousId: user.anonymousId(anonymousId),
      userId: userId || user.id() || undefined,
      ...fields,
      context: {
        ...device,
        campaign: campaign(win.location.search),
        groupId: (settings.stampGroup && type !== 'group' && group.id()) || undefined,
        ...rest,
        ...context,
        page: { ...page, ...Object(context).page },
        library: { name: 'headwater-browser', version },
      },
      integrations: Object.keys(flags)[0] ? flags : undefined,
    } as Message
  }

  /** Makes, queues and follows one event, after `learn` of more fields. Resolved when it is decided upon; never rejected. */
  const send = (type: EventType, fields: Json, call: Call, learn?: () => void): Promise<Settled> =>
    new Promise((resolve) => {
      let event: Message | null = null
      const decided = (outcome: Outcome) => {
        const settled = { ...outcome, event }
        resolve(settled)
        if (call.heard) guarded(() => call.heard!(settled))
      }
      const lost = (status: Outcome['status'], code: string, message = '') => {
        decided(books.note(status, event ? event.messageId : '', type, code, message))
        delivery.wake(0)
      }
      try {
        if (learn) learn()
        event = build(type, fields, call)
        log(type, event)
        if (type === 'track' && !event.event) {
          return lost('rejected', 'event_not_defined', 'track(name)')
        }
        if (pipeline.making() >= settings.maxQueueEvents) return lost('dropped', 'queue_full')
        pipeline.run(event, (json, code, message) => {
          if (code) return lost('dropped', code, message)
          queue.add(json, decided)
          if (win.document.visibilityState === 'hidden') delivery.hide()
          delivery.wake(queue.waiting() < settings.flushAt ? settings.flushInterval : 0)
        })
        emit(type, [...Object.values(fields), call.extras])
      } catch (error) {
        lost('dropped', 'not_serialisable', `${error}`) // a cycle, a BigInt, a getter that throws
      }
    })

  const pageLike =
    (type: 'page' | 'screen') =>
    (...args: unknown[]) => {
      const call = parse(args, 2)
      const names = call.heads.filter((head) => head != null).map(text)
      const name = names.pop()
      const category = names[0]
      return send(type, { category, name, properties: call.given }, call)
    }

  function identified(type: 'identify' | 'group', args: unknown[]) {
    const who = type === 'group' ? group : user
    const call = parse(args, 1)
    const fields: Json = {}
    return send(type, fields, call, () => {
      const id = text(call.heads[0])
      who.become(id, call.given)
      fields[who === group ? 'groupId' : 'userId'] = id || who.id() || undefined
      fields.traits = who.traits()
    })
  }

  function install(plugins: Plugin[] = []): void {
    for (const plugin of plugins) {
      try {
        if (plugin.setup) plugin.setup(sdk)
        pipeline.add(plugin)
      } catch (error) {
        failed(plugin.name, error)
      }
    }
  }

  const chained =
    <A extends unknown[]>(run: (...args: A) => void) =>
    (...args: A): Analytics => {
      run(...args)
      return sdk
    }

  const sdk = {
    writeKey,
    version,
    storage: settings.storage || browserStorage(win, settings.cookie),
    track(...args: unknown[]) {
      const [whole] = args
      if (isObject(whole)) args.splice(0, 1, whole.event, whole.properties)
      const call = parse(args, 1)
      return send('track', { event: text(call.heads[0]), properties: call.given }, call)
    },
    page: pageLike('page'),
    screen: pageLike('screen'),
    identify: (...args: unknown[]) => identified('identify', args),
    group: (...args: unknown[]) => (args[0] === undefined ? group : identified('group', args)),
    alias(...args: unknown[]) {
      const call = parse(args, 2)
      const userId = text(call.heads[0]) || user.id()
      const previousId = text(call.heads[1]) || user.id() || user.anonymousId()
      return send('alias', { userId, previousId }, call)
    },
    reset() {
      user.forget()
      group.forget()
      emit('reset', [])
    },
    async ready(callback?: () => void) {
      if (callback) guarded(callback)
    },
    on: chained(on),
    once: chained((event: string, listener: () => void) => on(event, listener, true)),
    off: chained(off),
    emit: chained((event: string, ...args: unknown[]) => emit(event, args)),
    debug: chained((wanted = true) => {
      debug = wanted as boolean
    }),
    user: () => user,
    setAnonymousId: (value?: string | null) => user.anonymousId(value),
    addSourceMiddleware: chained((...run: SourceMiddleware[]) => install(run.map(middleware))),
    use: chained((...plugins: Plugin[]) => install(plugins)),
    register: async (...plugins: Plugin[]) => install(plugins),
    flush: (timeout = 10_000) => delivery.flush(timeout),
    hold: delivery.hold,
  } as unknown as Analytics

  const user = identity(sdk, 'user', uuid)
  const group = identity(sdk, 'group', uuid)
  install(settings.plugins)
  // Another year for the cookies, and cookies and localStorage agree again.
  for (const key of ['ajs_anonymous_id', 'ajs_user_id', 'ajs_group_id']) {
    attempt(() => sdk.storage.set(key, sdk.storage.get(key)))
  }
  lifecycle(platform, delivery)
  if (offline) {
    offline(platform, writeKey, queue, delivery, () => !delivery.held() && sdk.storage.persistent !== false)
  }
  if (settings.initialPageview) sdk.page()
  return sdk
}
