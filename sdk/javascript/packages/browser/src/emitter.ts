// on, once, off, emit. A listener that throws is shown in the console of the page's developer and disturbs nobody.
export type AnyFunction = (...args: never[]) => unknown

/** Runs what belongs to the page's own code; its errors are raised outside of our call. */
export function guarded(run: () => unknown): void {
  try {
    run()
  } catch (error) {
    setTimeout(() => {
      throw error
    })
  }
}

export function emitter() {
  let listeners: Array<[event: string, listener: AnyFunction, once?: boolean]> = []
  const off = (event: string, listener: AnyFunction) => {
    listeners = listeners.filter(([name, known]) => name !== event || known !== listener)
  }
  return {
    off,
    on(...added: (typeof listeners)[0]) {
      listeners = [...listeners, added]
    },
    emit(event: string, args: unknown[]) {
      for (const entry of listeners) {
        const [name, listener, once] = entry
        if (name !== event) continue
        if (once) listeners = listeners.filter((known) => known !== entry)
        guarded(() => listener(...(args as never[])))
      }
    },
  }
}
