/**
 * Properties whose values are made when somebody first looks at them.
 *
 * @module
 */

/**
 * Such a property, to define on any number of objects. It is the object's own: a copy of the object has the value. All of
 * them share one getter: with one for each object, engines would give each a shape of its own.
 */
export const property = <T extends object>(
  name: string,
  make: (self: T) => unknown,
): PropertyDescriptor & ThisType<T> => ({
  get() {
    const value = make(this);
    // Of a frozen object it is made each time.
    if (!Object.isSealed(this)) {
      Object.defineProperty(this, name, { value, enumerable: true, configurable: true, writable: true });
    }
    return value;
  },
  enumerable: true,
  configurable: true,
});
