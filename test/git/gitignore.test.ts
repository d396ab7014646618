import { chmodSync, readFileSync, statSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ignoreLines, unignoreLines } from '../../src/git/gitignore.ts'
import { makeRepo, run } from '../helpers/repo.ts'

describe('.gitignore lines', () => {
  it('are added once, after what is there', async () => {
    const repo = await makeRepo({ '.gitignore': '# mine\n*.log' })
    expect(ignoreLines(repo.dir, ['data', 'data', 'model.bin'])).toBe(true)
    expect(repo.read('.gitignore')).toBe('# mine\n*.log\n/data\n/model.bin\n')
    expect(ignoreLines(repo.dir, ['model.bin', 'data'])).toBe(false)
    expect(unignoreLines(repo.dir, ['data', 'nothing'])).toBe(true)
    expect(repo.read('.gitignore')).toBe('# mine\n*.log\n/model.bin\n')
    expect(unignoreLines(repo.dir, ['data'])).toBe(false)
  })

  it('keep the line ends, the mode and bytes that are not UTF-8', async () => {
    const latin = Buffer.from('caf\xe9\r\n', 'latin1')
    const repo = await makeRepo({ '.gitignore': latin })
    chmodSync(repo.path('.gitignore'), 0o640)
    ignoreLines(repo.dir, ['ünï'])
    expect(readFileSync(repo.path('.gitignore'))).toEqual(Buffer.concat([latin, Buffer.from('/ünï\r\n')]))
    expect(statSync(repo.path('.gitignore')).mode & 0o777).toBe(0o640)
    unignoreLines(repo.dir, ['ünï'])
    expect(readFileSync(repo.path('.gitignore'))).toEqual(latin)
  })

  it('do nothing where there is no file and nothing to take out', async () => {
    const repo = await makeRepo()
    expect(unignoreLines(repo.dir, ['data'])).toBe(false)
    expect(repo.exists('.gitignore')).toBe(false)
  })

  it('match names with line ends', async () => {
    const repo = await makeRepo()
    ignoreLines(repo.dir, ['new\nline', 'end\r'])
    for (const name of ['new\nline', 'end\r'])
      expect((await run('git', ['check-ignore', '-q', name], { cwd: repo.dir, env: repo.env })).exitCode).toBe(0)
  })

  it('make git ignore any other name, and nothing else', async () => {
    const repo = await makeRepo()
    const character = fc.constantFrom(...'ab#! *?[]\\\t"\'é🎈-.')
    const name = fc.string({ unit: character, minLength: 1, maxLength: 8 }).filter((text) => !/^\.{1,2}$/.test(text))
    const ignored = async (names: string[]) => {
      const options = { cwd: repo.dir, env: repo.env, input: names.join('\0') }
      const { stdout } = await run('git', ['check-ignore', '-z', '--stdin', '--no-index'], options)
      return stdout.split('\0').filter(Boolean).sort()
    }
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(name, { minLength: 1, maxLength: 20 }), async (names) => {
        repo.write('.gitignore', '')
        ignoreLines(repo.dir, names)
        expect(await ignored(names)).toEqual([...names].sort())
        expect(await ignored(names.map((text) => `${text}x`))).toEqual(
          names
            .map((text) => `${text}x`)
            .filter((text) => names.includes(text))
            .sort(),
        )
        unignoreLines(repo.dir, names)
        expect(repo.read('.gitignore')).toBe('')
      }),
      { numRuns: 40 },
    )
  })
})
