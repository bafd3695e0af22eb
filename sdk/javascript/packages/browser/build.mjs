// `npm run build`: ESM, CJS, the script for a tag, and declarations.
import { bundle, clean, declarations, modules } from '../../tools/bundle.mjs'

const target = 'es2019'

clean()
await modules('src/index.ts', 'index', { target })
await bundle('src/iife.ts', 'dist/headwater.js', { format: 'iife', minify: true, target })
declarations()
