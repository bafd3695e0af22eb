// Submissions of forms as `track` calls: that a form was sent and which, never what was typed. The submission goes on at once.
import type { Plugin } from '../plugin.js'
import type { Json } from '../types.js'
import { address, closest } from './clicks.js'

export interface FormOptions {
  /** Which forms count. Default: all. */
  selector?: string
  /** Name of the event. Default: `Form Submitted`. */
  event?: string
  /** More properties, or null for no event. */
  properties?: (form: HTMLFormElement) => Json | null
}

/** Forms inside `[data-headwater-ignore]` are left out. */
export function forms(options: FormOptions = {}): Plugin {
  return {
    name: 'forms',
    setup(sdk) {
      const submitted = (event: Event) => {
        const form = closest(event, options.selector ?? 'form') as HTMLFormElement | null
        const more = form && options.properties ? options.properties(form) : {}
        if (form && more) sdk.track(options.event ?? 'Form Submitted', { ...facts(form), ...more })
      }
      document.addEventListener('submit', submitted, true)
    },
  }
}

// By attribute: a field called "id" or "action" hides the form's own property of that name.
function facts(form: HTMLFormElement): Json {
  const own = (name: string) => form.getAttribute(name) ?? ''
  return {
    ...(own('id') && { id: own('id') }),
    ...(own('name') && { name: own('name') }),
    action: address(own('action')),
    method: own('method').toLowerCase() || 'get',
    fields: form.querySelectorAll('input:not([type=hidden]),select,textarea').length,
  }
}
