// Every TypeScript block of the docs of the browser's packages is what TypeScript takes, against the source as it is.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'

const packageDir = fileURLToPath(new URL('..', import.meta.url))
const pages = [
  '../../../../docs/developer/react.md',
  '../../../../docs/developer/browser-plugins.md',
  'README.md',
]
const folder = mkdtempSync(join(packageDir, 'test', 'docs-'))
after(() => rmSync(folder, { recursive: true }))

// As much of the frameworks as the docs name.
const FRAMEWORKS = `
declare module 'next/navigation' { export function usePathname(): string; export function useSearchParams(): URLSearchParams }
declare module 'next/app' { export type AppProps = { Component: import('react').ComponentType<object>; pageProps: object } }
declare module 'next/router' { export function useRouter(): { asPath: string; isReady: boolean } }
declare module 'react-router' { export function useLocation(): { pathname: string; search: string } }
`

test('the TypeScript of the docs compiles', () => {
  let blocks = 0
  for (const page of pages) {
    const text = readFileSync(join(packageDir, page), 'utf8')
    for (const [, code] of text.matchAll(/^```tsx?\n(.*?)^```$/gms)) {
      blocks += 1
      // A block that begins with its file's name may be imported by another one.
      const name = code!.match(/^\/\/ \S*?(\w+)\.tsx$/m)?.[1] ?? `block${blocks}`
      writeFileSync(join(folder, `${name}.tsx`), `${code}\nexport {}\n`)
    }
  }
  assert.ok(blocks >= 9, `${blocks} blocks`)
  writeFileSync(join(folder, 'frameworks.d.ts'), FRAMEWORKS)
  const config = {
    extends: '../../tsconfig.json',
    // The app's own settings: a bundler finds modules, and what a block leaves unused is the reader's
    compilerOptions: {
      module: 'ESNext',
      moduleResolution: 'Bundler',
      noUnusedLocals: false,
      paths: Object.fromEntries(
        Object.entries({
          react: '../react/src/index.ts',
          browser: '../browser/src/index.ts',
          'browser/plugins': '../browser/src/plugins/index.ts',
        }).map(([name, file]) => [`@headwater/${name}`, [join(packageDir, file)]]),
      ),
    },
    include: ['.'],
  }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config))
  const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')
  try {
    execFileSync(process.execPath, [tsc, '-p', folder], { encoding: 'utf8', stdio: 'pipe' })
  } catch (error) {
    assert.fail((error as { stdout: string }).stdout)
  }
})
