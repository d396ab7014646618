import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'

/** Writes the type declarations of one module, and of what its declarations name, for CommonJS: the library is bundled as that.
 *  @param entry a file below src/ */
export function writeDeclarations(entry, target) {
  const folder = mkdtempSync(join(tmpdir(), 'mlv-types-'))
  try {
    emit(entry, folder)
    copyWithImports(join(folder, relative('src', entry).replace(/\.ts$/, '.d.ts')), folder, target)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function emit(entry, folder) {
  const config = {
    extends: resolve('tsconfig.json'),
    compilerOptions: {
      noEmit: false,
      declaration: true,
      emitDeclarationOnly: true,
      noCheck: true,
      rootDir: resolve('src'),
      outDir: folder,
      typeRoots: [resolve('node_modules/@types')],
    },
    files: [resolve(entry)],
    include: [],
  }
  const file = join(folder, 'tsconfig.json')
  writeFileSync(file, JSON.stringify(config))
  const manifest = createRequire(import.meta.url).resolve('typescript/package.json')
  const tsc = join(dirname(manifest), JSON.parse(readFileSync(manifest, 'utf8')).bin.tsc)
  execFileSync(process.execPath, [tsc, '-p', file], { stdio: ['ignore', 'inherit', 'inherit'] })
}

function copyWithImports(entry, from, to) {
  const seen = new Set()
  const open = [entry]
  for (let path = open.pop(); path; path = open.pop()) {
    if (seen.has(path)) continue
    seen.add(path)
    const text = readFileSync(path, 'utf8').replace(/(from |import\()(['"])(\.[^'"]+)\.ts\2/g, (_all, start, quote, name) => {
      open.push(join(dirname(path), `${name}.d.ts`))
      return `${start}${quote}${name}.cjs${quote}`
    })
    const target = join(to, relative(from, path).replace(/\.ts$/, '.cts'))
    mkdirSync(dirname(target), { recursive: true })
    writeFileSync(target, text)
  }
}
