// on, once, off, emit. A listener that throws is shown in the console of the page's developer and disturbs nobody.
type Listener = (...args: never[]) => void

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
  let listeners: Array<[event: string, listener: Listener, once: boolean]> = []
  const off = (event: string, listener: Listener) => {
    listeners = listeners.filter(([name, known]) => name !== event || known !== listener)
  }
  return {
    on(event: string, listener: Listener, once = false) {
      listeners = [...listeners, [event, listener, once]]
    },
    off,
    emit(event: string, args: unknown[]) {
      for (const [name, listener, once] of listeners) {
        if (name !== event) continue
        if (once) off(event, listener)
        guarded(() => (listener as (...args: unknown[]) => void)(...args))
      }
    },
  }
}
