// From a call's message to JSON: plug-ins in order, one event after the other.
import type { Plugin } from './plugin.js'
import type { Message, SourceMiddleware } from './types.js'

/** JSON, or why there is none: the name of the plug-in that dropped the message, or that it is not serialisable. */
export type Made = (json: string, code?: string, message?: string) => void

export interface Pipeline {
  add(plugin: Plugin): void
  /** Calls `made`: at once where there are no plug-ins, else when they are done with this message and those before it. */
  run(message: Message, made: Made): void
  /** How many messages plug-ins think about. */
  making(): number
}

export function createPipeline(failed: (plugin: string, error: unknown) => void): Pipeline {
  const plugins: Plugin[] = []
  let making = 0
  let tail = Promise.resolve()

  async function enrich(message: Message, made: Made): Promise<void> {
    for (const { name, enrich: run } of plugins) {
      try {
        const result = await run!(message)
        if (!result) return made('', name)
        message = result
      } catch (error) {
        failed(name, error)
      }
    }
    made(JSON.stringify(message))
  }

  return {
    making: () => making,
    add(plugin) {
      if (plugin.enrich) plugins.push(plugin)
    },
    run(message, made) {
      const json = JSON.stringify(message)
      if (!plugins[0]) return made(json)
      making++
      // Plug-ins get a copy: they may change it, and take their time while the page changes what it gave.
      const done: Made = (...result) => {
        making--
        made(...result)
      }
      const unsaid = (error: unknown) => done('', 'not_serialisable', `${error}`)
      tail = tail.then(() => enrich(JSON.parse(json), done)).catch(unsaid)
    },
  }
}

/** A middleware of analytics.js as a plug-in. */
export const middleware = (run: SourceMiddleware): Plugin => ({
  name: 'source_middleware',
  async enrich(message) {
    let result: Message | null = null
    await run({
      payload: { obj: message },
      integrations: message.integrations || {},
      next(payload) {
        result = payload && payload.obj
      },
    })
    return result
  },
})
