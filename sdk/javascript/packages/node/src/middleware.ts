// What changes a message before it is sent: functions, and Segment's plug-ins of type `before` and `enrichment`.
import type { Kind, Message, Middleware } from './types.js'

/** What Segment's plug-ins are given. */
export class PluginContext {
  constructor(public event: Message) {}

  /** `updateEvent('context.app.name', 'Shop')`. */
  updateEvent(path: string, value: unknown): Message {
    const names = path.split('.')
    if (names.some((name) => name === '__proto__' || name === 'constructor' || name === 'prototype'))
      return this.event
    const last = names.pop()!
    let at = this.event as unknown as Record<string, unknown>
    for (const name of names) {
      // Copied on the way down: the objects may be the caller's own.
      at[name] = { ...(at[name] as object | undefined) }
      at = at[name] as Record<string, unknown>
    }
    at[last] = value
    return this.event
  }
}

type Hook = (context: PluginContext) => PluginContext | undefined | Promise<PluginContext | undefined>

export interface Plugin extends Partial<Record<Kind, Hook>> {
  readonly name: string
  readonly type: 'before' | 'enrichment' | 'after' | 'destination' | 'utility'
  load?(context: undefined, analytics: unknown): unknown
  isLoaded?(): boolean
}

/** The plug-in as a middleware; `undefined` where it does not touch the message (those types send to other places). */
export function middlewareOf(plugin: Plugin): Middleware | undefined {
  if (plugin.type !== 'before' && plugin.type !== 'enrichment') return undefined
  return (message) => {
    const context = new PluginContext(message)
    const result = plugin[message.type]?.(context)
    return result instanceof Promise
      ? result.then((changed) => (changed ?? context).event)
      : (result ?? context).event
  }
}

/** The message after all of them: at once where none returns a promise. */
export function through(
  chain: readonly Middleware[],
  message: Message,
): Message | null | Promise<Message | null> {
  for (let i = 0; i < chain.length; i++) {
    const result = chain[i]!(message)
    if (result instanceof Promise) {
      const rest = chain.slice(i + 1)
      return result.then((changed) => (changed === null ? null : through(rest, changed)))
    }
    if (result === null) return null
    message = result
  }
  return message
}
