# What the engines' start and stop scripts share. Each process has NAME.pid and NAME.log in $state.

# Of Java 17: Beam, Flink and Spark look into these packages.
java_opens=(
  java.base/java.lang java.base/java.lang.invoke java.base/java.lang.reflect java.base/java.io
  java.base/java.net java.base/java.nio java.base/java.text java.base/java.time java.base/java.util
  java.base/java.util.concurrent java.base/java.util.concurrent.atomic
  java.base/java.util.concurrent.locks java.base/sun.nio.ch java.base/sun.nio.cs
  java.base/sun.security.action java.base/sun.util.calendar
)

fail() {
  echo "$(basename "$(dirname "$0")")/$(basename "$0"): $*" >&2
  exit 1
}

need_java() {
  command -v java >/dev/null 2>&1 ||
    fail "Expected Java 11 or 17 on the PATH; found none. Install openjdk-17-jre-headless."
  local version
  version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -1)
  case "$version" in
    11 | 17) ;;
    *) fail "Expected Java 11 or 17; found ${version:-an unknown version}. Put one of them first on the PATH." ;;
  esac
}

# need_jars FOLDER: fetches the jars of the pom beside the script, once.
need_jars() {
  [ -e "$1/.complete" ] && return
  command -v mvn >/dev/null 2>&1 ||
    fail "Expected the jars of pom.xml in $1; found none, and no Maven to fetch them. Install maven, or copy the folder from a machine that has it."
  echo "fetching the jars into $1 ..." >&2
  mvn --quiet --batch-mode --file "$here/pom.xml" dependency:copy-dependencies \
    -DoutputDirectory="$1" >&2 ||
    fail "Maven could not fetch the jars of pom.xml. Check that it reaches Maven Central or a mirror."
  touch "$1/.complete"
}

need_free_ports() {
  local port
  for port in "$@"; do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      fail "Expected port $port to be free; somebody listens there. Run ./stop, or set other ports (see the top of this script)."
    fi
  done
}

# launch NAME COMMAND…: starts a process of its own session, so that stop ends its children, too.
launch() {
  local name=$1
  shift
  setsid "$@" >"$state/$name.log" 2>&1 </dev/null &
  echo $! >"$state/$name.pid"
}

# wait_until SECONDS NAME WHAT COMMAND…: waits until the command succeeds; NAME must live on.
wait_until() {
  local seconds=$1 name=$2 what=$3 start=$SECONDS
  shift 3
  until "$@" >/dev/null 2>&1; do
    kill -0 "$(cat "$state/$name.pid")" 2>/dev/null ||
      fail "$name ended before $what: $(tail -3 "$state/$name.log")"
    [ $((SECONDS - start)) -lt "$seconds" ] ||
      fail "waited ${seconds} s for $what; see $state/*.log"
    sleep 0.5
  done
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1"); }

stop_all() {
  local file pid
  for file in "$state"/*.pid; do
    [ -e "$file" ] || continue
    pid=$(cat "$file")
    kill -TERM -- "-$pid" 2>/dev/null
  done
  for file in "$state"/*.pid; do
    [ -e "$file" ] || continue
    pid=$(cat "$file")
    for _ in $(seq 50); do
      kill -0 -- "-$pid" 2>/dev/null || break
      sleep 0.2
    done
    kill -KILL -- "-$pid" 2>/dev/null
    rm -f "$file"
  done
  return 0
}
