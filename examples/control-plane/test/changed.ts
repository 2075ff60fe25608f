/** The same object with other methods. */
export function changed<T extends object>(object: T, methods: Partial<T>): T {
  return new Proxy(object, {
    get: (target, name) => {
      const found = Reflect.get(name in methods ? methods : target, name)
      return typeof found === 'function' ? found.bind(target) : found
    },
  })
}
