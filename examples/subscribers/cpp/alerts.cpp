// Prints identity events as they come: the topic, then the JSON.
//
//   ./alerts [ENDPOINT [COUNT]]
//
// What is missed while it does not run, or while the network drops messages, can be fetched from the replay socket
// with a JSON request; docs/events.md and ../nodejs/alerts.mjs show how.

#include <cstdlib>
#include <iostream>
#include <string>

#include <zmq.hpp>

int main(int argc, char** argv) {
    const std::string endpoint = argc > 1 ? argv[1] : "tcp://127.0.0.1:5556";
    const long count = argc > 2 ? std::atol(argv[2]) : -1;
    zmq::context_t context;
    zmq::socket_t subscriber(context, zmq::socket_type::sub);
    subscriber.set(zmq::sockopt::subscribe, "identity/");
    subscriber.connect(endpoint);
    std::cerr << "listening to " << endpoint << std::endl;
    for (long seen = 0; seen != count; ++seen) {
        zmq::message_t topic, payload;
        if (!subscriber.recv(topic) || !topic.more() || !subscriber.recv(payload)) continue;
        std::cout << topic.to_string_view() << ' ' << payload.to_string_view() << std::endl;
    }
}
