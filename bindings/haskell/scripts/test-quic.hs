#!/usr/bin/env runghc
-- | A simple server and client, to try things out: @test-quic.hs server@ in one terminal,
-- @test-quic.hs client@ in another. Both talk to tbq(1) as well. A port may follow; 8443.
module Main (main) where

import Control.Concurrent
import Control.Exception
import Control.Monad (forever)
import qualified Data.ByteString.Char8 as B
import Data.Time.Clock (getCurrentTime)
import Network.Socket (PortNumber, SockAddr (..), tupleToHostAddress)
import Network.TBQuic
import System.Environment (getArgs)
import System.Exit
import System.IO
import System.Timeout (timeout)
import Text.Read (readMaybe)

main :: IO ()
main = do
  hSetBuffering stdout LineBuffering
  args <- getArgs
  case args of
    ["server"] -> runServer 8443
    ["server", port] | Just n <- readMaybe port -> runServer n
    ["client"] -> runClient 8443
    ["client", port] | Just n <- readMaybe port -> runClient n
    _ -> hPutStrLn stderr "usage: test-quic.hs server|client [port]" >> exitWith (ExitFailure 2)
  `catch` \e -> do
    hPutStrLn stderr (displayException (e :: QuicError))
    exitWith (ExitFailure 1)

loopback :: PortNumber -> SockAddr
loopback port = SockAddrInet port (tupleToHostAddress (127, 0, 0, 1))

-- | Until Ctrl-C. Requests are answered with what they ask with.
runServer :: PortNumber -> IO ()
runServer port = handle (\e -> if e == UserInterrupt then putStrLn "stopped" else throwIO e) $
  withQuicServer config quietActor { actorRole = Just TimeTraveler, actorHandle = hear } AnyKey $
    \server -> do
      putStrLn ("ready at " ++ quicServerUri server)
      forever (threadDelay 1000000)
  where
    config = defaultQuicConfig
      { qcBindAddress = loopback port
      , qcBindPort = fromIntegral port
      , qcNetworkMode = ServerMode
      }
    hear server event = do
      case event of
        Connected peer _ -> putStrLn ("connected: " ++ show peer)
        Message _ _ (QuicTransition b) -> putStrLn ("message: " ++ show (B.length b) ++ " bytes")
        Requested _ request b -> answerQuicRequest server request (Resource b)
        Warning why -> hPutStrLn stderr why
        _ -> pure ()
      pure Take

-- | One ping, one message, one request; then an end.
runClient :: PortNumber -> IO ()
runClient port = do
  pong <- newEmptyMVar
  fate <- newEmptyMVar
  let hear _ event = do
        case event of
          Ponged _ roundTrip _ -> putMVar pong roundTrip
          FateOf _ 1 told -> putMVar fate told
          _ -> pure ()
        pure Take
  withQuicServer config quietActor { actorRole = Just TimeKeeper, actorHandle = hear } AnyKey $
    \server -> do
      conn <- connectToQuicPeer server (loopback port)
      putStrLn "connected"
      now <- getCurrentTime
      sendQuicMessage server conn (QuicPing now)
      within (takeMVar pong) >>= \t -> putStrLn ("pong after " ++ show t)
      sendQuicMessageWith defaultSendOptions { sendTag = 1 } server conn
        (QuicTransition (B.pack "a message from Haskell"))
      within (takeMVar fate) >>= \f -> putStrLn ("message: " ++ show f)
  where
    config = defaultQuicConfig
      { qcBindAddress = loopback 0
      , qcBindPort = 0
      , qcNetworkMode = ClientMode
      }
    within go = timeout 10000000 go >>= maybe (die "no answer") pure
