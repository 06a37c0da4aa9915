/** What every variant answers: a list of ten products, a little under 1 KB of JSON. */
export const payload = () => ({
  ok: true,
  items: Array.from({ length: 10 }, (_, i) => ({
    id: i + 1,
    name: `Product ${i + 1}`,
    price: 9.99 + i,
    tags: ['new', 'sale'],
    inStock: i % 2 === 0,
  })),
})

export const PATH = '/api/items'
