// Which user and account the code that runs now works for: AsyncLocalStorage, where the runtime has it.
import type { Scope } from './types.js'

interface Storage {
  getStore(): Scope | undefined
  run<T>(scope: Scope, fn: () => T): T
}

interface Runtime {
  AsyncLocalStorage?: new () => Storage
  process?: { getBuiltinModule?(name: string): { AsyncLocalStorage: new () => Storage } | undefined }
}

export const NOTHING: Scope = {}

let storage: Storage | undefined = builtIn()
/** Set while `within` runs on a runtime without storage: the scope then covers the synchronous part only. */
let current: Scope | undefined
let used = false

/** Older Nodes have no synchronous way to it that edge bundlers would accept. */
export const loaded: Promise<void> = storage ? Promise.resolve() : load()

/** The scope of the code that runs now. */
export function scope(): Scope {
  if (!used) return NOTHING
  return storage?.getStore() ?? current ?? NOTHING
}

/** Runs `fn`, and what it starts, in `inner`. */
export function within<T>(inner: Scope, fn: () => T): T {
  used = true
  if (storage) return storage.run(inner, fn)
  const outer = current
  current = inner
  try {
    return fn()
  } finally {
    current = outer
  }
}

function builtIn(): Storage | undefined {
  const runtime = globalThis as Runtime
  const Class =
    runtime.AsyncLocalStorage ?? runtime.process?.getBuiltinModule?.('node:async_hooks')?.AsyncLocalStorage
  return Class && new Class()
}

async function load(): Promise<void> {
  // Not a literal, so that bundlers for runtimes without the module leave it alone.
  const name = 'node:async_hooks'
  const module = await import(/* webpackIgnore: true */ /* @vite-ignore */ name).catch(() => undefined)
  if (module?.AsyncLocalStorage) storage ??= new module.AsyncLocalStorage() as Storage
}
