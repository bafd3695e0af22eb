// The SDK: analytics.js's calls over identity, pipeline, queue and delivery.
import { aliasCall, type Call, idCall, pageCall, trackCall } from './arguments.js'
import { campaign, deviceContext, pageContext } from './context.js'
import { createDelivery } from './delivery.js'
import { emitter, guarded } from './emitter.js'
import { identity } from './identity.js'
import { ledger } from './ledger.js'
import { lifecycle } from './lifecycle.js'
import { createPipeline, middleware } from './pipeline.js'
import type { Platform } from './platform.js'
import type { Plugin } from './plugin.js'
import { createQueue } from './queue.js'
import { shelf as openShelf } from './shelf.js'
import { browserStorage } from './storage.js'
import type {
  Analytics,
  EventType,
  Json,
  Message,
  Options,
  Outcome,
  Settings,
  Settled,
  SourceMiddleware,
} from './types.js'
import { version } from './version.js'

const DEFAULTS = {
  host: '',
  flushAt: 100,
  flushInterval: 500,
  maxQueueEvents: 10_000,
  maxQueueBytes: 33_554_432,
  maxRetries: 10,
  timeout: 10_000,
}

/** The SDK on a platform. `load` gives it the page it runs in. */
export function createAnalytics(platform: Platform, writeKey: string, options: Options): Analytics {
  const { window: win, now, id, uuid } = platform
  const settings: Settings & typeof DEFAULTS = { ...DEFAULTS, ...options }
  const { on, off, emit } = emitter()
  const device = deviceContext(win)
  let debug = !!options.debug

  const log = (...what: unknown[]) => {
    if (debug) win.console.log('headwater', ...what)
  }
  const books = ledger((outcome) => {
    log(outcome.status, outcome)
    if (outcome.status === 'rejected' || outcome.status === 'dropped') emit('error', [outcome])
  })
  const failed = (code: string, error: unknown) => emit('error', [{ code, message: `${error}`, error }])

  const pipeline = createPipeline(failed)
  const shelf = openShelf(platform, writeKey)
  const queue = createQueue(
    platform,
    settings,
    shelf,
    () => !delivery.held() && sdk.storage.persistent !== false,
    books.note,
  )
  const delivery = createDelivery(platform, writeKey, settings, queue, shelf, books, pipeline.making)

  /** The message of a call, as of now. */
  function build(type: EventType, { fields, options: call }: Call): Message {
    const { context, integrations, anonymousId, userId, timestamp, messageId, ...rest } = call
    const page = pageContext(win)
    if (type === 'page') fields.properties = { ...page, ...named(fields), ...(fields.properties as Json) }
    const at = new Date(timestamp ?? now())
    const flags = { ...flagsOf(settings.integrations), ...integrations }
    const groupId = settings.stampGroup !== false && type !== 'group' ? group.id() : null
    return {
      type,
      messageId: messageId || id(),
      timestamp: (Number.isNaN(+at) ? new Date(now()) : at).toISOString(),
      anonymousId: user.anonymousId(anonymousId),
      userId: userId || user.id() || undefined,
      ...fields,
      context: {
        ...device,
        campaign: campaign(win.location.search),
        groupId: groupId || undefined,
        ...rest,
        ...context,
        page: { ...page, ...(context?.page as Json) },
        library: { name: 'headwater-browser', version },
      },
      integrations: Object.keys(flags)[0] ? flags : undefined,
    } as Message
  }

  /** Makes, queues and follows one event. Resolved when it is decided upon; never rejected. */
  function send(type: EventType, call: Call, heard: unknown[]): Promise<Settled> {
    return new Promise((resolve) => {
      let event: Message | null = null
      const decided = (outcome: Outcome) => {
        const settled = { ...outcome, event }
        resolve(settled)
        if (call.callback) guarded(() => call.callback!(settled))
      }
      const lost = (
        code: string,
        message: string | undefined,
        status: 'rejected' | 'dropped' = 'dropped',
      ) => {
        const outcome: Outcome = { status, type, messageId: event?.messageId ?? '', code, message }
        books.note(outcome)
        decided(outcome)
        delivery.wake(0)
      }
      try {
        const message = build(type, call)
        event = message
        log(type, message)
        if (type === 'track' && (!message.event || typeof message.event !== 'string'))
          return lost('event_not_defined', 'track needs the name of an event: a string.', 'rejected')
        pipeline.run(message, (made) => {
          if ('code' in made) return lost(made.code, made.message)
          queue.add(made.json, decided)
          delivery.wake(queue.length() < settings.flushAt ? settings.flushInterval : 0)
        })
        emit(type, heard)
      } catch (error) {
        lost('internal', `${error}`)
      }
    })
  }

  function named(fields: Json): Json {
    const { category, name } = fields
    return { ...(category ? { category } : {}), ...(name ? { name } : {}) }
  }

  function pageLike(type: 'page' | 'screen', args: unknown[]) {
    const call = pageCall(args)
    const { category, name, properties } = call.fields
    return send(type, call, [category, name, properties, call.options])
  }

  function identified(kind: 'user' | 'group', args: unknown[]) {
    const key = `${kind}Id`
    const who = kind === 'user' ? user : group
    const call = idCall(args, key)
    const { fields, options: given } = call
    guarded(() => {
      if (given.anonymousId) user.anonymousId(given.anonymousId)
      who.identify(fields[key] as string | null, fields.traits as Json)
      fields[key] = who.id() || undefined
      fields.traits = who.traits()
    })
    return send(kind === 'user' ? 'identify' : 'group', call, [fields[key], fields.traits, given])
  }

  function install(plugins: Plugin[]): void {
    for (const plugin of plugins) {
      try {
        plugin.setup?.(sdk)
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

  const sdk: Analytics = {
    writeKey,
    version,
    storage: settings.storage ?? browserStorage(win, settings.cookie),
    track(...args: unknown[]) {
      const call = trackCall(args)
      return send('track', call, [call.fields.event, call.fields.properties, call.options])
    },
    page: (...args: unknown[]) => pageLike('page', args),
    screen: (...args: unknown[]) => pageLike('screen', args),
    identify: (...args: unknown[]) => identified('user', args),
    group: (...args: unknown[]) => (args.length ? identified('group', args) : group),
    alias(...args: unknown[]) {
      const call = aliasCall(args)
      const { fields } = call
      fields.userId ??= user.id()
      fields.previousId ??= user.id() ?? user.anonymousId()
      return send('alias', call, [fields.userId, fields.previousId, call.options])
    },
    reset() {
      user.reset()
      group.reset()
      emit('reset', [])
    },
    async ready(callback?: () => void) {
      if (callback) guarded(callback)
    },
    on: chained(on),
    once: chained((event: string, listener: () => void) => on(event, listener, true)),
    off: chained(off),
    emit: chained((event: string, ...args: unknown[]) => emit(event, args)),
    debug: chained((wanted: boolean | undefined = true) => {
      debug = wanted
    }),
    user: () => user,
    setAnonymousId: (value?: string | null) => user.anonymousId(value),
    addSourceMiddleware: chained((...run: SourceMiddleware[]) => install(run.map(middleware))),
    use: chained((...plugins: Plugin[]) => install(plugins)),
    register: async (...plugins: Plugin[]) => install(plugins),
    async flush(timeout = 10_000) {
      return delivery.flush(timeout)
    },
    hold: delivery.hold,
  } as unknown as Analytics

  const user = identity(sdk, 'user', uuid)
  const group = identity(sdk, 'group', uuid)
  install(settings.plugins ?? [])
  guarded(() => {
    for (const who of [user, group]) who.refresh()
  })
  lifecycle(platform, shelf, queue, delivery)
  if (settings.initialPageview) sdk.page()
  return sdk
}

/** Flags of `load` as analytics.js sends them: booleans, without its own. */
function flagsOf(integrations: Json = {}): Json {
  const flags: Json = {}
  for (const name in integrations) if (name !== 'Segment.io') flags[name] = !!integrations[name]
  return flags
}
