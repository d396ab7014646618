/** How a stage stands: nothing to do, would run, may not run, its outs are not here, kept from running. */
export type DagState = 'unchanged' | 'run' | 'blocked' | 'absent' | 'frozen'

/** Names and the arrows between them; `after` names what each waits for. */
export interface Dag {
  nodes: { name: string; after: string[]; state?: DagState }[]
}

/** How each state looks: before the name, by ANSI colour, and as a fill in pictures. */
const LOOKS: Record<DagState, { mark: string; color: number; fill: string }> = {
  unchanged: { mark: '✓', color: 32, fill: '#c8e6c9' },
  run: { mark: '●', color: 33, fill: '#ffe0b2' },
  blocked: { mark: '✗', color: 31, fill: '#ffcdd2' },
  absent: { mark: '○', color: 36, fill: '#e0e0e0' },
  frozen: { mark: '∗', color: 34, fill: '#bbdefb' },
}

/** The graph with marks in front of the names. */
function marked(dag: Dag): Dag {
  const label = new Map(dag.nodes.map(({ name, state }) => [name, state ? `${LOOKS[state].mark} ${name}` : name]))
  return {
    nodes: dag.nodes.map(({ name, after }) => ({ name: label.get(name)!, after: after.map((other) => label.get(other)!) })),
  }
}

/** Colours what stands behind a mark, up to the next line or gap. */
export function colorDag(text: string): string {
  const colors = new Map(Object.values(LOOKS).map(({ mark, color }) => [mark, color]))
  return text.replace(/([✓●✗○∗])(?: [^\s│✓●✗○∗]+)+/g, (label, mark: string) => `\u001b[${colors.get(mark)}m${label}\u001b[39m`)
}

/** What the marks mean, for those that stand in the graph. */
export function dagLegend(dag: Dag): string {
  const words: Record<DagState, string> = {
    unchanged: 'unchanged',
    run: 'would run',
    blocked: 'cannot run',
    absent: 'outs are not here',
    frozen: 'frozen',
  }
  const states = (Object.keys(LOOKS) as DagState[]).filter((state) => dag.nodes.some((node) => node.state === state))
  return states.map((state) => `${LOOKS[state].mark} ${words[state]}`).join('   ')
}

interface Node {
  /** undefined for a point where a long arrow passes a layer */
  name: string | undefined
  width: number
  /** middle column */
  x: number
  down: Node[]
  up: Node[]
}

const GAP = 3
const SWEEPS = 8

function depths(dag: Dag): Map<string, number> {
  const depth = new Map<string, number>()
  // Nodes come in an order where each stands behind what it waits for.
  for (const { name, after } of dag.nodes) depth.set(name, Math.max(-1, ...after.map((other) => depth.get(other) ?? -1)) + 1)
  return depth
}

function join(from: Node, to: Node): void {
  from.down.push(to)
  to.up.push(from)
}

/** Puts each node below all it waits for; arrows longer than a layer get a point in each they pass. */
function makeLayers(dag: Dag): Node[][] {
  const depth = depths(dag)
  const layers: Node[][] = Array.from({ length: Math.max(0, ...[...depth.values()].map((at) => at + 1)) }, () => [])
  const nodes = new Map<string, Node>()
  const add = (at: number, name?: string): Node => {
    const node: Node = { name, width: name === undefined ? 1 : name.length + 4, x: 0, down: [], up: [] }
    layers[at]!.push(node)
    return node
  }
  for (const { name } of dag.nodes) nodes.set(name, add(depth.get(name)!, name))
  for (const { name, after } of dag.nodes)
    for (const other of after) {
      let from = nodes.get(other)!
      for (let at = depth.get(other)! + 1; at < depth.get(name)!; at++) {
        const point = add(at)
        join(from, point)
        from = point
      }
      join(from, nodes.get(name)!)
    }
  return layers
}

function middle(near: Node[], positions: Map<Node, number>): number | undefined {
  if (near.length === 0) return undefined
  return near.reduce((sum, node) => sum + positions.get(node)!, 0) / near.length
}

/** Orders each layer by the mean place of its neighbours, up and down in turn (Sugiyama's barycentre): few arrows cross then. */
function orderLayers(layers: Node[][]): void {
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const down = sweep % 2 === 0
    const sequence = down ? layers : layers.toReversed()
    const positions = new Map<Node, number>()
    for (const layer of sequence) {
      const wanted = new Map(layer.map((node, index) => [node, middle(down ? node.up : node.down, positions) ?? index]))
      layer.sort((a, b) => wanted.get(a)! - wanted.get(b)!)
      for (const [index, node] of layer.entries()) positions.set(node, index)
    }
  }
}

/** Spreads each layer from left to right, each node as near as may be below the middle of those above it. */
function placeNodes(layers: Node[][]): number {
  for (const layer of layers) {
    let left = 0
    for (const node of layer) {
      const half = Math.floor(node.width / 2)
      const above = node.up.length === 0 ? undefined : node.up.reduce((sum, up) => sum + up.x, 0) / node.up.length
      node.x = Math.max(left + half, Math.round(above ?? 0))
      left = node.x - half + node.width + GAP
    }
  }
  // A node above several goes over their middle, where there is room.
  for (const layer of layers.toReversed()) {
    let right = Number.POSITIVE_INFINITY
    for (const node of layer.toReversed()) {
      const half = Math.floor(node.width / 2)
      const wanted =
        node.down.length === 0 ? node.x : Math.round(node.down.reduce((sum, down) => sum + down.x, 0) / node.down.length)
      if (wanted > node.x) node.x = Math.max(node.x, Math.min(wanted, right - GAP - (node.width - half)))
      right = node.x - half
    }
  }
  return Math.max(0, ...layers.flat().map((node) => node.x + node.width))
}

const UP = 1
const DOWN = 2
const LEFT = 4
const RIGHT = 8
const LINES = ' ╵╷│╴┘┐┤╶└┌├─┴┬┼'

/** Nodes that lead to the same ones, and the row in which their arrows meet and part. */
interface Track {
  from: Node[]
  to: Node[]
  left: number
  right: number
  row: number
}

/** Rows are shared where tracks do not touch; a straight arrow needs none. */
function makeTracks(layer: Node[]): { tracks: Track[]; rows: number } {
  const groups = new Map<string, Node[]>()
  const ids = new Map(layer.flatMap((node) => node.down).map((node, index) => [node, index]))
  for (const node of layer) {
    const key = node.down
      .map((down) => ids.get(down))
      .sort()
      .join()
    if (key !== '') groups.set(key, [...(groups.get(key) ?? []), node])
  }
  const tracks = [...groups.values()].map((from): Track => {
    const to = from[0]!.down
    const columns = [...from, ...to].map((node) => node.x)
    return { from, to, left: Math.min(...columns), right: Math.max(...columns), row: 0 }
  })
  const ends: number[] = []
  for (const track of tracks.filter(({ left, right }) => left < right).sort((a, b) => a.left - b.left)) {
    const free = ends.findIndex((end) => end < track.left - 1)
    track.row = free < 0 ? ends.length : free
    ends[track.row] = track.right
  }
  return { tracks, rows: ends.length }
}

function drawArrows(layer: Node[], width: number): string[] {
  const { tracks, rows } = makeTracks(layer)
  const grid = Array.from({ length: rows + 1 }, () => new Uint8Array(width))
  const vertical = (x: number, first: number, last: number) => {
    for (let row = first; row < last; row++) {
      grid[row]![x]! |= DOWN
      grid[row + 1]![x]! |= UP
    }
  }
  for (const { from, to, left, right, row } of tracks) {
    for (const { x } of from) {
      grid[0]![x]! |= UP
      vertical(x, 0, row)
    }
    for (const { x } of to) {
      vertical(x, row, rows)
      grid[rows]![x]! |= DOWN
    }
    for (let x = left; x < right; x++) {
      grid[row]![x]! |= RIGHT
      grid[row]![x + 1]! |= LEFT
    }
  }
  const heads = new Set(layer.flatMap((node) => node.down.filter((down) => down.name !== undefined).map((down) => down.x)))
  return grid.map((cells, row) =>
    Array.from(cells, (bits, x) => (row === rows && heads.has(x) && bits === (UP | DOWN) ? '▼' : LINES[bits]!)).join(''),
  )
}

function drawBoxes(layer: Node[], width: number): string[] {
  const rows = [0, 1, 2].map(() => Array<string>(width).fill(' '))
  const put = (row: number, left: number, text: string) => {
    for (const [index, char] of [...text].entries()) rows[row]![left + index] = char
  }
  for (const node of layer) {
    if (node.name === undefined) {
      for (const row of rows) row[node.x] = '│'
      continue
    }
    const left = node.x - Math.floor(node.width / 2)
    const edge = '─'.repeat(node.width - 2)
    put(0, left, `┌${edge}┐`)
    put(1, left, `│ ${node.name} │`)
    put(2, left, `└${edge}┘`)
    if (node.down.length > 0) rows[2]![node.x] = '┬'
  }
  return rows.map((row) => row.join(''))
}

function drawList(dag: Dag): string {
  const width = Math.max(0, ...dag.nodes.map(({ name }) => name.length))
  return dag.nodes
    .map(({ name, after }) => (after.length === 0 ? name : `${name.padEnd(width)}  after ${after.join(', ')}`))
    .join('\n')
}

/** Draws the graph with boxes and arrows; as a list where that would be wider than `columns`. Nodes must stand behind what they wait for. */
export function renderDag(given: Dag, columns: number): string {
  const dag = marked(given)
  if (dag.nodes.length === 0) return 'There are no stages yet: add one with "mlv stage add".'
  const layers = makeLayers(dag)
  orderLayers(layers)
  const width = placeNodes(layers)
  if (width > columns) return drawList(dag)
  const lines = layers.flatMap((layer, index) => [
    ...drawBoxes(layer, width),
    ...(index < layers.length - 1 ? drawArrows(layer, width) : []),
  ])
  return lines.map((line) => line.trimEnd()).join('\n')
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '\\"')}"`
}

/** The graph in Mermaid's language, which GitHub and GitLab draw in Markdown. */
export function renderMermaid(dag: Dag): string {
  const ids = new Map(dag.nodes.map(({ name }, index) => [name, `s${index + 1}`]))
  const used = (Object.keys(LOOKS) as DagState[]).filter((state) => dag.nodes.some((node) => node.state === state))
  const lines = dag.nodes.flatMap(({ name, after, state }) => [
    `  ${ids.get(name)}[${quoted(name)}]${state ? `:::${state}` : ''}`,
    ...after.map((other) => `  ${ids.get(other)} --> ${ids.get(name)}`),
  ])
  return ['flowchart TD', ...lines, ...used.map((state) => `  classDef ${state} fill:${LOOKS[state].fill}`)].join('\n')
}

/** The graph in Graphviz's language. */
export function renderDot(dag: Dag): string {
  const lines = dag.nodes.flatMap(({ name, after, state }) => [
    `  ${quoted(name)}${state ? ` [style=filled, fillcolor="${LOOKS[state].fill}"]` : ''};`,
    ...after.map((other) => `  ${quoted(other)} -> ${quoted(name)};`),
  ])
  return ['digraph pipeline {', '  node [shape=box];', ...lines, '}'].join('\n')
}
