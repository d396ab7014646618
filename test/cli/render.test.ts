import { describe, expect, it } from 'vitest'
import { formatBytes, formatCount, formatSeconds, plural } from '../../src/cli/render/amount.ts'
import { displayWidth, renderTable } from '../../src/cli/render/table.ts'

describe('renderTable', () => {
  it('lines up text by what the terminal shows, colours and wide characters included', () => {
    const table = renderTable(
      [
        ['\u001b[31mab\u001b[39m', '1'],
        ['日本', '10'],
        ['é', '100'],
      ],
      { header: ['name', 'n'], align: ['left', 'right'] },
    )
    expect(table.replace(/\u001b\[\d+m/g, '')).toBe('name    n\nab      1\n日本   10\né     100')
  })

  it('lets no cell break its row or drive the terminal', () => {
    expect(renderTable([['a\nb\u001b]0;title\u0007', 'c']])).toBe('a b\\x1b]0;title\\x07  c')
    expect(renderTable([['a|b\n<img>', 'c\\d']], { header: ['x', 'y'], format: 'md' })).toBe(
      '| x | y |\n| --- | --- |\n| a\\|b<br>&lt;img> | c\\\\d |',
    )
  })

  it('quotes CSV as RFC 4180 says', () => {
    expect(renderTable([['a,b', 'say "x"', 'two\nlines', 'plain']], { format: 'csv' })).toBe(
      '"a,b","say ""x""","two\nlines",plain',
    )
  })

  it('fills short rows and gives nothing for nothing', () => {
    expect(renderTable([['a'], ['b', 'c']], { format: 'csv' })).toBe('a,\nb,c')
    expect(renderTable([])).toBe('')
    expect(renderTable([['1']], { header: ['n'], format: 'md', align: ['right'] })).toBe('| n |\n| ---: |\n| 1 |')
  })

  it('counts marks as nothing', () => {
    expect(displayWidth('e\u0301')).toBe(1)
    expect(displayWidth('🐧')).toBe(2)
  })
})

describe('amounts', () => {
  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1536, '1.5 KiB'],
    [10 * 1024, '10 KiB'],
    [1024 * 1024 - 1, '1.0 MiB'],
    [19_003_421, '18 MiB'],
    [5 * 2 ** 40, '5.0 TiB'],
  ])('%d bytes are %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text)
  })

  it('counts in words', () => {
    expect(formatCount(1234567)).toBe('1,234,567')
    expect(formatCount(-1000)).toBe('-1,000')
    expect(plural(1, 'file')).toBe('1 file')
    expect(plural(70000, 'entry', 'entries')).toBe('70,000 entries')
  })

  it.each([
    [0.04, '0.0s'],
    [9.96, '10s'],
    [185, '3m 05s'],
    [7800, '2h 10m'],
  ])('%d seconds are %s', (seconds, text) => {
    expect(formatSeconds(seconds)).toBe(text)
  })
})
