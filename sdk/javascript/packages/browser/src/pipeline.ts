// From a call's message to JSON: plug-ins in order, one event after the other.
import type { Plugin } from './plugin.js'
import type { Message, SourceMiddleware } from './types.js'

/** JSON, or what became of the message on the way: the name of the plug-in that dropped it, or the error of serialising it. */
export type Made = { json: string } | { code: string; message?: string }

const isPromise = (value: unknown): value is Promise<unknown> =>
  typeof (value as Promise<unknown> | null)?.then === 'function'

export interface Pipeline {
  add(plugin: Plugin): void
  /** Calls `made` now, or when a plug-in has thought about this message or one before it. */
  run(message: Message, made: (result: Made) => void): void
  /** Messages that are not made yet. */
  readonly making: () => number
  /** Settled when all messages of now are made. */
  readonly idle: () => Promise<void> | undefined
}

export function createPipeline(failed: (plugin: string, error: unknown) => void): Pipeline {
  const enrichers: Plugin[] = []
  let making = 0
  let tail: Promise<void> | undefined

  /** The result of plug-ins from `n` on; a promise only if one of them gave one. */
  function step(message: Message, n: number): Made | Promise<Made> {
    const plugin = enrichers[n]
    if (!plugin) return { json: JSON.stringify(message) }
    const next = (enriched: Message | null): Made | Promise<Made> =>
      enriched ? step(enriched, n + 1) : { code: plugin.name }
    const skip = (error: unknown) => {
      failed(plugin.name, error)
      return step(message, n + 1)
    }
    try {
      const result = plugin.enrich!(message)
      return isPromise(result) ? result.then(next, skip) : next(result)
    } catch (error) {
      return skip(error)
    }
  }

  function start(message: Message): Made | Promise<Made> {
    try {
      return step(message, 0)
    } catch (error) {
      return { code: 'not_serialisable', message: `${error}` } // a cycle or a BigInt
    }
  }

  return {
    making: () => making,
    idle: () => tail,
    add(plugin) {
      if (plugin.enrich) enrichers.push(plugin)
    },
    run(message, made) {
      let copy = message
      try {
        // Plug-ins may change what they get, and may take their time while the page changes what it gave.
        if (enrichers.length) copy = JSON.parse(JSON.stringify(message))
      } catch {
        // start() says why
      }
      const result = tail ? tail.then(() => start(copy)) : start(copy)
      if (!isPromise(result)) return made(result)
      making++
      const mine = result
        .catch((error): Made => ({ code: 'not_serialisable', message: `${error}` }))
        .then((done) => {
          making--
          if (tail === mine) tail = undefined
          made(done)
        })
      tail = mine
    },
  }
}

/** A middleware of analytics.js as a plug-in. */
export const middleware = (run: SourceMiddleware): Plugin => ({
  name: 'source_middleware',
  enrich(message) {
    let result: Message | null = null
    const waiting = run({
      payload: { obj: message },
      integrations: message.integrations ?? {},
      next: (payload) => {
        result = payload?.obj ?? null
      },
    })
    return isPromise(waiting) ? waiting.then(() => result) : result
  },
})
