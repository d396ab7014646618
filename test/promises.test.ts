import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const top = (path: string) => fileURLToPath(new URL(`../${path}`, import.meta.url))
const rows = readFileSync(top('docs/promises.md'), 'utf8')
  .split('\n')
  .map((line) => /^\| (\d+) \| (.+) \| (.+) \|$/.exec(line))
  .filter((row) => row !== null)
  .map(([, number, promise, tests]) => ({
    number: Number(number),
    promise: promise!,
    tests: tests!.match(/(?<=`)[^` ]+(?=`)/g) ?? [],
  }))

it('there are promises, numbered without a gap', () => {
  expect(rows.map(({ number }) => number)).toEqual(rows.map((_, i) => i + 1))
  expect(rows.length).toBeGreaterThanOrEqual(14)
})

it.each(rows)('promise $number is held by tests that exist', ({ tests }) => {
  expect(tests.length).toBeGreaterThan(0)
  // Suites under contract/ are run by the tests of each place.
  for (const path of tests)
    expect(existsSync(top(path)) && /\b(it|test)\b.*\(/.test(readFileSync(top(path), 'utf8')), path).toBe(true)
})
