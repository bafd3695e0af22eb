// `npm run build`: bundles and declarations of this package. React and the browser SDK stay imports.
import { clean, declarations, modules } from '../../tools/bundle.mjs'

clean()
await modules('src/index.ts', 'index', {
  // Next.js: a provider and hooks belong to the client, whoever imports them.
  banner: { js: "'use client'" },
  external: ['react', 'react/jsx-runtime', '@headwater/browser', '@headwater/browser/plugins'],
  jsx: 'automatic',
})
declarations()
