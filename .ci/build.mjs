import { rmSync } from 'node:fs'
import { build } from 'esbuild'
import { writeDeclarations } from './declarations.mjs'
import { writeNotices } from './notices.mjs'

/** Bundles src/ into dist/cli/. Each file that Node loads costs about 0.7 ms, so all of our own code lies in one, its lazy `import()`s are parts
 *  that run lazily, and only the large packages are files of their own. CommonJS, because only that can be loaded from V8's code cache. */
const PACKAGES = ['@aws-sdk/client-s3', 'fast-glob', 'isomorphic-git', 'smol-toml', 'yaml']
const ENTRIES = {
  main: 'src/cli/main.ts',
  run: 'src/cli/run.ts',
  library: 'src/library/library.ts',
  'digest-worker': 'src/base/digest-worker.ts',
  'hash-worker': 'src/workspace/hash-worker.ts',
}

const fileOf = (name) => name.replace(/^.*\//, '')

const packagesApart = {
  name: 'packages-apart',
  setup({ onResolve }) {
    onResolve({ filter: /^[a-z@]/ }, ({ path, kind }) =>
      kind !== 'entry-point' && PACKAGES.includes(path) ? { path: `./${fileOf(path)}.cjs`, external: true } : undefined,
    )
  },
}

const options = {
  outdir: 'dist/cli',
  outExtension: { '.js': '.cjs' },
  bundle: true,
  format: 'cjs',
  platform: 'node',
  target: 'node20',
  supported: { 'dynamic-import': false },
  minifySyntax: true,
  minifyWhitespace: true,
  // Node prints the line that threw: for a program that does not catch an MlvError that shall not be all of our code.
  lineLimit: 160,
  legalComments: 'none',
  logLevel: 'warning',
  metafile: true,
}

rmSync('dist', { recursive: true, force: true })
const built = await Promise.all([
  build({
    ...options,
    entryPoints: ENTRIES,
    plugins: [packagesApart],
    define: { 'import.meta.url': '__moduleUrl' },
    banner: { js: 'const __moduleUrl=require("node:url").pathToFileURL(__filename).href;' },
  }),
  build({ ...options, entryPoints: Object.fromEntries(PACKAGES.map((name) => [fileOf(name), name])) }),
])
writeNotices(
  built.flatMap(({ metafile }) => Object.keys(metafile.inputs)),
  'dist/NOTICES.txt',
)
writeDeclarations('src/library/library.ts', 'dist/types')
