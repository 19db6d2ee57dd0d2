export default function Counter() {
  return <div className="counter">counted {props.count}</div>
}
