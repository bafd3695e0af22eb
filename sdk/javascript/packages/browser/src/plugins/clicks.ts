// What `links` and `forms` share: the element behind an event, and words about it that hold nothing a visitor typed.

const TEXT = 100

/** The closest element that fits `selector` from where the event began, shadow roots included; null where a parent opts out. */
export function closest(event: Event, selector: string): Element | null {
  const start = event.composedPath()[0]
  const found = start instanceof Element ? start.closest(selector) : null
  return found?.closest('[data-headwater-ignore]') ? null : found
}

/** Id and visible text, short. */
export function words(element: Element): { id?: string; text?: string } {
  const text = (element.getAttribute('aria-label') ?? element.textContent ?? '').replace(/\s+/g, ' ').trim()
  return { ...(element.id && { id: element.id }), ...(text && { text: text.slice(0, TEXT) }) }
}

/** An address without user name, password and query, which may be anybody's secret. */
export function address(value: string): string {
  try {
    const url = new URL(value, document.baseURI)
    return /^https?:$/.test(url.protocol) ? url.origin + url.pathname : url.protocol
  } catch {
    return '' // an address that cannot be read leads nowhere
  }
}
