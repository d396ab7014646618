import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { makeRepo, type Repo, run } from '../helpers/repo.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const DOCUMENTS = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  ...readdirSync(join(ROOT, 'docs')).map((name) => `docs/${name}`),
]

type Example =
  | { kind: 'file'; path: string; text: string }
  /** `…` in `expected` stands for anything; without expected lines only the exit status counts */
  | { kind: 'command'; command: string; status: number; expected: string[] }

/** Reads the blocks of a document that a comment marks: `file PATH` is written, `run` is run, `run exit=N` ends with another status than 0. */
function parseExamples(text: string): Example[] {
  const blocks = text.matchAll(/^<!-- (file|run)(?: (\S+))? -->\n```\w+\n([\s\S]*?)^```$/gm)
  return [...blocks].flatMap(([, kind, argument, content]): Example[] => {
    if (kind === 'file') return [{ kind, path: argument!, text: content! }]
    const status = Number(/^exit=(\d+)$/.exec(argument ?? '')?.[1] ?? 0)
    const [, ...commands] = `\n${content}`.split(/^\$ /m)
    return commands.map((part) => {
      const [command, ...expected] = part.replace(/\n$/, '').split('\n')
      return { kind: 'command', command: command!, status, expected }
    })
  })
}

function toPattern(expected: string[]): RegExp {
  const escaped = expected.map((line) => line.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replaceAll('…', '[^]*'))
  return new RegExp(`^${escaped.join('\\n')}\\n*$`)
}

/** Puts `mlv` and this Node first on the PATH of the repo's commands. */
function installPrograms(repo: Repo): Record<string, string | undefined> {
  const folder = repo.path('../bin')
  mkdirSync(folder)
  const node = process.env.MLV_TEST_NODE || process.execPath
  symlinkSync(node, join(folder, 'node'))
  writeFileSync(
    join(folder, 'mlv'),
    `#!/bin/sh\nexec ${JSON.stringify(node)} ${JSON.stringify(join(ROOT, 'bin', 'mlv.js'))} "$@"\n`,
    { mode: 0o755 },
  )
  return { ...repo.env, PATH: `${folder}${delimiter}${repo.env.PATH}`, NO_COLOR: '1' }
}

/** Commands as the document's code names them, cut before pipes, comments, and what follows a bare `--`. */
function namedCommands(text: string): { verb: string; sub: string; options: string[] }[] {
  const blocks = [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$|`([^`\n]+)`/gm)]
  // Blocks of other languages hold prose and code of their own.
  const code = blocks
    .map(([, language, block, inline]) => inline ?? (language === '' || language === 'console' ? block : ''))
    .join('\n')
  return [...code.matchAll(/(?<![\w./-])mlv(?: -C \S+)? ([a-z]+)((?: [^\s|#&]+)*)/g)].map(([, verb, rest]) => {
    const words = rest!.split(' -- ')[0]!.trim().split(/\s+/)
    return { verb: verb!, sub: words[0] ?? '', options: words.filter((word) => /^--?[a-zA-Z]/.test(word)) }
  })
}

const helps = new Map<string, string>()

/** The help of a command, and of the sub-command where `sub` is one. */
async function readHelp(verb: string, sub: string): Promise<string> {
  const asked = async (...words: string[]) => {
    const name = words.join(' ')
    if (!helps.has(name)) {
      const result = await run(process.execPath, [join(ROOT, 'bin', 'mlv.js'), ...words, '--help'], {
        cwd: ROOT,
        env: { PATH: process.env.PATH },
      })
      helps.set(name, result.exitCode === 0 ? result.stdout : '')
    }
    return helps.get(name)!
  }
  const help = await asked(verb)
  return new RegExp(`^  ${sub} .*`, 'm').test(help.split('\nCommands:')[1] ?? '') ? help + (await asked(verb, sub)) : help
}

describe.each(DOCUMENTS)('%s', (name) => {
  const text = readFileSync(join(ROOT, name), 'utf8')
  const examples = parseExamples(text)

  const showsExamples = async () => {
    const repo = await makeRepo()
    const env = installPrograms(repo)
    for (const example of examples) {
      if (example.kind === 'file') {
        repo.write(example.path, example.text)
        continue
      }
      const result = await run('sh', ['-c', `{ ${example.command}\n} 2>&1`], { cwd: repo.dir, env })
      const shown = `$ ${example.command}\n${result.stdout}`
      expect(result.exitCode, shown).toBe(example.status)
      if (example.expected.length > 0) expect(result.stdout, shown).toMatch(toPattern(example.expected))
    }
  }
  if (examples.length > 0) it('shows what mlv really says', showsExamples)

  it('names only commands and options that exist', async () => {
    const wrong: string[] = []
    for (const { verb, sub, options } of namedCommands(text)) {
      const help = await readHelp(verb, sub)
      if (help === '') wrong.push(`mlv ${verb}`)
      for (const option of options)
        if (!new RegExp(`(?<![\\w-])${option}(?![\\w-])`).test(help)) wrong.push(`mlv ${verb} ${sub}: ${option}`)
    }
    expect(wrong).toEqual([])
  })

  it('links to files that exist', () => {
    const targets = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)].map(([, target]) => target!)
    expect(targets.filter((target) => !existsSync(join(ROOT, dirname(name), target)))).toEqual([])
  })
})

it('README.md opens with two lines for a fresh clone that package.json has scripts for', () => {
  const lines = /^```\n(.*)\n(.*)\n```$/m.exec(readFileSync(join(ROOT, 'README.md'), 'utf8'))!.slice(1, 3)
  expect(lines).toEqual(['npm ci && npm run demo', 'npm ci && npm test'])
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  expect(scripts).toMatchObject({ demo: expect.any(String), test: expect.any(String), prepare: expect.any(String) })
})
