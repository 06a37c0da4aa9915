/** Figures by Node's version, group of variants and kind of measurement. */
export class Measured {
  constructor(sections) {
    this.all = Object.fromEntries(
      Object.entries(sections).map(([name, { figures }]) => [name, figures]),
    )
    this.groups = Object.values(this.all).filter(({ group }) => group)
    this.nodes = [...new Set(this.groups.map(({ node }) => node))].sort((a, b) => (a < b ? 1 : -1))
  }

  /** The newest Node of that major version, or undefined. */
  node(major) {
    return this.nodes.find((each) => each.startsWith(`v${major}.`))
  }

  /** The Node that has all kinds of measurements, or the newest one. */
  get main() {
    return this.groups.find(({ kinds }) => kinds.serial)?.node ?? this.nodes[0]
  }

  /** All variants of a group in one kind of measurement. */
  group(node, group, kind) {
    return this.groups.find(
      (each) => each.node === node && each.group === group && each.kinds[kind],
    )
  }

  /** One variant's figures. */
  of(node, kind, id) {
    return this.groups.find((each) => each.node === node && each.kinds[kind]?.[id])?.kinds[kind][id]
  }
}
